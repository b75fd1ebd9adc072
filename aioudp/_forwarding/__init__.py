"""The parts of ``forwarding``, which sends datagrams to other machines."""
