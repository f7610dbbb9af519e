"""Effects on forwards, and on what lost connections leave behind on the server and on this machine."""
