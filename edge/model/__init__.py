"""What a model file says of itself. Shared with the converter."""
