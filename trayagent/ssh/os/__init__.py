"""Processes, TCP connections and control sockets as the operating system reports them."""
