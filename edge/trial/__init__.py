"""A second model beside the one that runs, on the same samples: how they differ, and nothing of it is published as a
result."""
