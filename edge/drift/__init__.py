"""To know when the world of a model has changed: counts in windows, judged against what this device has learnt."""
