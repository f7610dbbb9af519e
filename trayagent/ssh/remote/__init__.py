"""Actions on the server, through a master: run short scripts, end the agent's own dead sessions."""
