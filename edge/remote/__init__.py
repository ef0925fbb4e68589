"""What the sinks share that store results in somebody else's system: addresses, secrets, HTTP, and rows it refuses."""
