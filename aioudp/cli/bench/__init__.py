"""``aioudp bench``: how many datagrams get from here to there, and how soon.

::

    command     the options, the progress display
    server      counts what arrives, answers probes, tells the result
    client      sends, probes, asks for the result
    wire        what the two say to each other
    tracker     sequence numbers: lost, reordered, duplicated; jitter
    histogram   percentiles in bounded memory
    report      the result as a table and as JSON

``wire``, ``tracker``, ``histogram`` and ``report`` have no socket, no event loop and no
clock.
"""
