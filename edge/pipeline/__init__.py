"""From a sample to its results: pure, no thread and no socket."""
