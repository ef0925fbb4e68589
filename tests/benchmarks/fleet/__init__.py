"""`make bench-fleet`: thousands of simulated devices follow one repository."""
