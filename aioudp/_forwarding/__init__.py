"""How datagrams travel to other machines, below ``forwarding``."""
