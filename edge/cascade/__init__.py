"""A second model that looks at what the first one has found."""
