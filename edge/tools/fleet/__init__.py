"""`edge-fleet`: the repository that devices follow, and what they say of themselves."""
