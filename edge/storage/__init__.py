"""Where messages wait: in memory, or on disk through a kill and a power cut."""
