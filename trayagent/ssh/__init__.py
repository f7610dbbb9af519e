"""All code that deals with OpenSSH: its configuration, its masters and its error messages."""
