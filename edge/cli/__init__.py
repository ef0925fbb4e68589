"""Every command line: one module a command."""
