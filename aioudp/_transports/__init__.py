"""The transports: what moves datagrams between a protocol and a socket."""
