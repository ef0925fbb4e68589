"""Detectors: a file for each form of head; `boxes.py` is what they share."""
