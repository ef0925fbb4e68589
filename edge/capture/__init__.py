"""Samples worth labelling, kept beside their results."""
