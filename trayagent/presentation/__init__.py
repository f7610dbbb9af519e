"""Present facts to users: words and signs of states, the headline, times, and text that is safe to print; pure.

Every surface uses it: the command line, `attach`, the desktop, the history and `init`. It imports nothing
heavy, because the command line must start in a few milliseconds.
"""
