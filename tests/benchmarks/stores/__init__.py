"""What a result costs on its way into each store, with the real server."""
