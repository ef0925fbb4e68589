"""This build beside another one of edge-run's, by `make bench-beside OTHER=...`."""
