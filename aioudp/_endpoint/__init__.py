"""The endpoint, and how it is opened. Only ``opening`` names concrete transports."""
