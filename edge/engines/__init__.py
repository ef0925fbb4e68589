"""Inference engines, a file each."""
