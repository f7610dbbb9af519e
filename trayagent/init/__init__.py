"""Propose the first configuration: find the programs that keep ssh connected on this machine, and list their hosts.

`survey` searches the machine, `interpret_ssh_call` runs `ssh -G`, `propose_hosts` decides, `chooser` lets the user
choose, and `write_config` writes the file.
"""
