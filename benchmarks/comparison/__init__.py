"""What aioudp and its peers can do: a table of which each cell is the result of a run.

``python -m benchmarks features`` runs them, each in a process of its own that is killed
if it hangs, and writes the page of the documentation.

    peers       one class per library: how it opens, receives, sends and closes
    features    one function per feature: tries it with any peer, says what it saw
    probe       the inside of the process of one cell
    table       all cells, their result file, and the page

Only ``ours`` imports aioudp: another project's package has the same name, and its cells
run in a process that sees that one.
"""
