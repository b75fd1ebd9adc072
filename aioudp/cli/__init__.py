"""The command line.

Each command has its own file (``bench`` its own folder) and is an ordinary program on
the public API; ``app`` assembles them. The other files are shared:

* ``options``: arguments and options of several commands;
* ``running``: the event loop, signals, and one-line error messages;
* ``receiving``: printing received datagrams;
* ``formats``: datagrams as text that is safe to print (pure);
* ``capture_files``: what ``record`` writes;
* ``outcomes``: the results of sending on several interfaces (pure);
* ``console``: standard output and standard error;
* ``payloads``, ``lines``: arguments and standard input, without blocking the loop.

Needs typer and rich. Nothing in the library imports it.
"""
