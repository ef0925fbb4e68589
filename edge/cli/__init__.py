"""Every command line: one module a command."""


def plugins(group: str) -> str:
    """What is registered in a group of entry points, as a user says it; for `--help`."""
    from edge.plugins import registry

    return registry.usage(group)
