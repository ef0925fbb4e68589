"""How often a rule cries wolf, and how soon it sees what is wrong: simulated months of a device."""
