"""The runtime beside what a user would write, and beside the engine alone."""
