"""The interface to the operating system. No event loop."""
