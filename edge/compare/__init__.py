"""What one model answers otherwise than another."""
