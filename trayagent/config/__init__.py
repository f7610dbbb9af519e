"""Load the configuration into a frozen model, and define the paths of all files."""
