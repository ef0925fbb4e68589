"""Where samples come from, a file for each. Factories: `create(rest of the URI, context) -> Source`."""
