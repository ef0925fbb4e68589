"""What a model file of somebody else's says of itself, and what its signature suggests."""
