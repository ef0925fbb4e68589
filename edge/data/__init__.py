"""Frozen values: what flows from a source to a sink."""
