"""What exporters of tables and trees share: the boosters' traps, exact thresholds, feature names."""
