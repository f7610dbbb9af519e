"""Watched files: configuration, keys, and control sockets."""
