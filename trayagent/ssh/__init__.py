"""The knowledge about OpenSSH: its configuration, its masters, its error messages."""
