"""What several processes on one port are made of."""
