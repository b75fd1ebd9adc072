"""One file per library: receive, send and echo as its user would write them.

Every file has the same three shapes, so that only the library differs. A listener
takes the mark, starts the clocks, counts what reaches it until the next mark, and
stops the clocks. A talker is connected, as each of these libraries can be, and sends
in bursts until the time is over. Each library keeps its own defaults.
"""
