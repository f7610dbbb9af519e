"""Actions on the server, as its user and through our master: run short scripts, end our own dead sessions."""
