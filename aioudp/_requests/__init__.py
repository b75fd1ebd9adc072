"""What a client is made of: the schedule, the table, the line, and the port."""
