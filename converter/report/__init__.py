"""What a conversion tells a person: table, page, progress."""
