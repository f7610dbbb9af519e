"""Effects on masters: find, connect, probe, replace, drain, watch and end them."""
