"""The local HTTP endpoint. Imported only where `--http` is given; it sees the flow, and the flow never sees it."""
