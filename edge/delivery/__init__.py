"""Each result to each sink: in order, at least once, across outages and restarts."""
