"""The command line: a client of the IPC socket; one printer for people, one for machines."""
