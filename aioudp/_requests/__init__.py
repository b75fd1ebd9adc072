"""The parts of a client: the schedule, the table, the line, and the ports."""
