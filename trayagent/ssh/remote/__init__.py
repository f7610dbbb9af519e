"""What is done on the server, as its user and through a master of ours: short scripts, and our own dead sessions."""
