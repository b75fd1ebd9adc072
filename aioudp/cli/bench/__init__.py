"""``aioudp bench``: measure loss, latency and ordering on a path.

::

    command     the options, the progress display
    server      counts datagrams, answers probes, reports the result
    client      sends datagrams and probes, requests the result
    wire        the protocol between client and server
    tracker     sequence numbers: lost, reordered, duplicated; jitter
    histogram   percentiles in bounded memory
    report      the result as a table and as JSON

``wire``, ``tracker``, ``histogram`` and ``report`` don't use sockets, event loops or
clocks.
"""
