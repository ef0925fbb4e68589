"""What the user asked for: flags, environment, TOML, profile."""
