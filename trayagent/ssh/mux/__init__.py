"""The protocol between an ssh master and the clients of its control socket (OpenSSH's PROTOCOL.mux).

`wire` and `messages` convert between bytes and values. `connection` checks the order of messages, without I/O.
`client` is the only module that owns a socket.
"""
