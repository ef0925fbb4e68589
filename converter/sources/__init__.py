"""What the user brings: recognised by content, opened without unpickling."""
