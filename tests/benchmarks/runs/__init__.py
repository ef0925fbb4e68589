"""Several runs in one process, beside a process for each."""
