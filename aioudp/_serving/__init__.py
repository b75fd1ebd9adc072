"""The parts of a server: what it takes, who handles it, what it answers."""
