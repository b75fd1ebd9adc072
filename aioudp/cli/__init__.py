"""The command line: ``listen``, ``send``, ``echo`` and ``info``.

One file per command, each an ordinary program on the public API. What they share:

* ``options``: the arguments that several commands take;
* ``running``: the event loop, signals, and errors as one line;
* ``formats``: datagrams as text that is safe to show (pure);
* ``console``: standard output and standard error;
* ``lines``: standard input, without blocking the event loop.

Needs typer and rich. Nothing in the library imports it.
"""
