"""Whether the export tells the truth: parity, golden samples."""
