"""Moving pictures: cameras, streams and files. `live.py` is what the live ones share."""
