"""What edge-run costs as the work grows: slower models, a fuller spool, more connections, more processes."""
