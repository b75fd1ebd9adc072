"""Benchmarks of aioudp beside its peers. ``python -m benchmarks``; see README.md.

Not part of the installed package. A measurement is always two processes, a listener
and a talker, one of which is measured:

    catalogue   what can be measured: one subject per library and way of using it
    subjects    one file per library: the few lines that its user would write
    load        the other process of each measurement, in Python
    native      the same in C, and C subjects as ceilings
    worker      the inside of a Python process
    processes   starting, hearing and ending them
    parties     who measures with whom, and the commands for it
    harness     lets listener and talker meet, round after round
    machine     what the numbers depend on
    results     the rows, and the JSON file
    tables, plots, ratios     what is made from that file
    footprint   the memory of a process
    formatting  Markdown tables and short numbers
    memory, import_time, fairness, quic, iperf3     measurements of their own
    cli         the command line
"""
