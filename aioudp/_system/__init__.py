"""What the operating system is told, and what it tells. No event loop."""
