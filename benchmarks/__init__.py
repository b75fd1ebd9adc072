"""Benchmarks of aioudp and its peers: ``python -m benchmarks``; see README.md.

They aren't installed with the package. Each measurement has two processes, a listener
and a talker, and one of them is measured:

    catalogue   what can be measured: one subject per library and way of using it
    subjects    one file per library: the few lines that a user would write
    load        the other process of each measurement, in Python
    native      the same in C, and C subjects as ceilings
    worker      the inside of a Python process
    processes   starting, reading from and ending them
    parties     which processes are paired, and their commands
    harness     runs listener and talker, round after round
    machine     what the numbers depend on
    results     the rows, and the JSON file
    tables, plots, ratios     what is made from that file
    footprint   the memory of a process
    formatting  Markdown tables and short numbers
    soak        long runs: what grows, and whether each datagram is accounted for
    memory, import_time, fairness, quic, iperf3     measurements of their own
    cli         the command line
"""
