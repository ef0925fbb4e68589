"""The flow: the only place with threads of its own."""
