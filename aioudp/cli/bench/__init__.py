"""``aioudp bench``: measure loss, latency and ordering on a path.

::

    command     the programs: a server, a client, or both
    server      counts and sends datagrams, answers probes, reports the result
    client      sends and counts datagrams, sends probes, requests the result
    sending     numbered datagrams, as fast as possible or at a rate
    arrivals    what has arrived of all flows
    intervals   a line per interval
    wire        the protocol between client and server
    tracker     sequence numbers: lost, reordered, duplicated; jitter
    histogram   percentiles in bounded memory
    report      the result as text and as JSON

``wire``, ``tracker``, ``histogram``, ``arrivals`` and ``report`` don't use sockets,
event loops or clocks.
"""
