"""Sample rows and pictures: read, made up, and turned into tensors."""
