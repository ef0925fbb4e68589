"""Other servers' words: what their clients send is understood here."""
