"""The parts of a server: receiving, calling handlers, limits, replies."""
