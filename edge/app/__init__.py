"""The process: what it is put together from, how it starts, lives and ends."""
