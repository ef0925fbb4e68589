"""`edge-convert --compare OLD NEW`: what a new model changes, row by row, on rows with known answers."""
