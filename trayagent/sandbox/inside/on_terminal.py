"""Makes the terminal on stdin the controlling one, and executes a command.

Usage: on_terminal.py WORD…  It needs a new session, as `Node.popen` starts.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  # a list of words, no shell
