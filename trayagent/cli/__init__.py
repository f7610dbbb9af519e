"""Implement the command line, a client of the IPC socket, with output for users and for programs."""
