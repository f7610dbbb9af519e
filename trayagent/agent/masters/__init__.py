"""Effects on masters: find, connect, probe, take over, watch and end them."""
