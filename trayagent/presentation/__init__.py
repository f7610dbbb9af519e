"""Present facts to users: words and signs of states, the headline, times, translations, and text that is safe to print.

Every part that shows text uses this package: the command line, `attach`, the desktop, the history and `init`. It
imports no large modules, because the command line must start in a few milliseconds.
"""
