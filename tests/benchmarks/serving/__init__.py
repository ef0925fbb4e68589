"""The HTTP endpoint beside other people's servers of the same model."""
