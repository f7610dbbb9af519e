"""Propose the first configuration: find what keeps ssh connected on this machine, and express it as hosts.

`survey` reads, `interpret_ssh_call` runs `ssh -G`, `propose_hosts` decides, `chooser` lets the user choose, and
`write_config` writes.
"""
