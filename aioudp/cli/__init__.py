"""The command line.

``app`` is the command, and ``commands`` declares its subcommands: arguments, options,
help. Those are all that ``--help`` and completion load, with ``parsing`` and
``options``, which they share.

The program of each command is a file here, or a folder (``bench``), and uses the public
API. Programs share:

* ``running``: the event loop, signals, exit statuses;
* ``words``: errors in the words of the command line (pure);
* ``receiving``: printing received datagrams;
* ``formats``, ``escaping``: datagrams as text that is safe to print (pure);
* ``outcomes``: the results of sending on several interfaces (pure);
* ``payloads``, ``lines``: arguments, files and standard input, without blocking;
* ``console``, ``live``, ``rates``: standard output, standard error, and displays;
* ``capture_files``: what ``record`` writes;
* ``many``: several processes for ``echo`` and ``serve``.

Needs click and rich. Nothing in the library imports it.
"""
