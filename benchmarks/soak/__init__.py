"""Long runs: mixed traffic with faults, and what grows meanwhile.

A process for each event loop runs scenarios in an order by chance. Between them it
counts what it has, and settles what it sent with what it received:

    kinds       the operations and the faults, by name
    account     pure: what became of the datagrams that were sent to one socket
    verdict     pure: what the samples say
    census      memory, descriptors, objects, tasks, threads
    namespace   a network of the process's own, with interfaces that come and go
    world       what all scenarios share
    traffic     sending and receiving in every way
    receiving, serving, failing, descriptors, interfaces, loops     the scenarios
    standing    what stays open for the whole run
    process     the inside of a measured process
    run         starting the processes and collecting their samples
    recording   the result file
    command     the command line's part
"""
