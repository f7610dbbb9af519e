"""Propose the first configuration: find what keeps ssh connected on this machine, and express it as hosts.

`survey` reads, `meaning` runs `ssh -G`, `proposal` decides, `chooser` lets the user choose, `written`
writes.
"""
