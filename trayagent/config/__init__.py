"""What the user described: the configuration file, frozen, and the places of all files."""
