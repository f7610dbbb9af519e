"""The protocol between an ssh master and the clients of its control socket (OpenSSH's PROTOCOL.mux).

`wire` and `messages` are bytes to values and back, `connection` is the order of things, without I/O;
`client` is the one part that owns a socket.
"""
