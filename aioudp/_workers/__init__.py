"""The parts of ``workers``: the parent process, and the worker processes."""
