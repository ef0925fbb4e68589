"""Where results go, a file for each."""
