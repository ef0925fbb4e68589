"""What a conversion tells a person: table and page."""
