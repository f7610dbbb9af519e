"""The command that runs in a terminal window: it sets the title, and keeps the window open as needed; pure."""

from __future__ import annotations

from collections.abc import Sequence

from trayagent.presentation.text import clean
from trayagent.presentation.translation import _, to_translate

# Set the title ($0) first, because the program in the terminal may set its own title later. Source: xterm's ctlseqs,
# OSC 2.
_TITLE = 'printf "\\033]2;%s\\007" "$0"; '
_PROMPT = to_translate("Enter closes this window")
_READ = f'printf "\\n(%s) " "{_PROMPT}"; read -r _'

AT_ONCE = 'exec "$@"'
"""Close the window when the program ends."""
AFTER_ENTER = f'"$@"; {_READ}'
"""Close the window when the user presses Enter."""
AFTER_ERROR_OF_SSH = f'"$@"; [ $? -ne 255 ] || {{ {_READ}; }}'
"""Keep the window open after an error of ssh, so that the user can read the error."""
AFTER_FAILURE = f'"$@"; case $? in 0|130) ;; *) {_READ};; esac'
"""Keep the window open after a failure. After Ctrl-C (130) there is no message to read."""
SENTENCE_FIRST = 'printf "%s\\n\\n" "$0"; "$@"'
"""The script of `sh -c` that prints its first argument, and then runs the command in the others."""
IN_PAGER = '"$@" | less -R'
"""Show the output in a pager."""


def in_terminal(title: str, words: Sequence[str], closes: str = AT_ONCE) -> list[str]:
    """Return the command line for a terminal. `closes` is one of the scripts of this module."""
    return ["sh", "-c", _TITLE + closes.replace(_PROMPT, _(_PROMPT)), clean(title), *words]
