"""What the process says of itself: metrics, board, watchdog, logs."""
