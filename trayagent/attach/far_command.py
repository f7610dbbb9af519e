"""What runs on the far side: the words of a session, such that no login shell can misread them; pure.

Theory of operation. sshd hands one string to the user's login shell, which may be bash, dash, zsh,
fish, csh or tcsh. The string is `exec sh -c ': TOKEN; SCRIPT'`, and SCRIPT holds none of the
signs that any of them treats specially within single quotes: no single quote, no exclamation mark
(csh), no newline (csh), no two backslashes in a row and none before a quote (fish). What a person
may have written, a session's name or a command's words, stands there as octal numbers for
printf's %b (POSIX), so it is data for every shell on the way.

TOKEN marks our own shell on the far side, near the beginning of what ps shows of it. When a
connection has died, its session may stand there for hours, until the server notices; a dead client
holds the size of tmux's windows, and stops screen's output once its terminal is full. So each new
attempt hangs up the process groups with its own token, as sshd would do in the end, and nobody
else's; beside the new session, which need not wait for that.
"""

from __future__ import annotations

import re

from trayagent.errors import TrayagentError

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = re.compile(r"\w[\w+@=,~-]{0,63}")
"""What both tmux and screen take as a name, word for word: tmux keeps : and . for itself, screen / and the dot."""
NAME_RULE = (
    "A name has up to 64 letters, digits and signs of _ - + @ = , ~ and begins with a letter or digit."
)

# A server's package managers put programs where a shell that is not a login shell does not look.
_ELSEWHERE = "/usr/local/bin:/opt/homebrew/bin:/opt/local/bin:/usr/pkg/bin"
_HANG_UP = (
    "{{ ps -A -o pid= -o args= || ps -o pid,args; }} 2>/dev/null | while read -r p a; do "
    "case $a in *{0}*) [ $p = $$ ] || kill -s HUP -- -$p 2>/dev/null;; esac; done & "
)
_FIND = "command -v {0} >/dev/null 2>&1 || PATH=$PATH:{1}; command -v {0} >/dev/null 2>&1 || "
_SHELL = (
    '{{ printf "%s\\r\\n" "trayagent: {0} is not installed here: this is a plain shell, '
    'which starts again after a change of network." >&2; exec "${{SHELL:-sh}}" -l; }}; '
)
_TMUX = 'tmux new-session -A -s "$n"'
# A name alone would find main2 for main, and another user's dead ones: ask for the whole name of a living one.
_SCREEN = (
    "s=$(screen -ls | while read -r i x; do case $x in *[Dd]ead*) continue;; esac; "
    'case $i in [0-9]*.*) [ "${i#*.}" = "$n" ] && { echo "$i"; break; };; esac; done); '
    'if [ -n "$s" ]; then screen -x "$s"; else screen -S "$n"; fi'
)


def check_name(name: str) -> None:
    """Raise TrayagentError (session-name) for what is no session's name."""
    if not NAME.fullmatch(name):
        shown = name if len(name) <= 40 else f"{name[:40]}…"
        title = f'"{shown}" cannot be the name of a session.'
        raise TrayagentError(title, code="session-name", hint=NAME_RULE)


def multiplexer(kind: str, name: str, token: str, *, again: bool) -> str:
    """Return the command for session `name` of tmux or screen (`kind`); `again` after an attempt that died.

    A living session is attached beside the user's other terminals, a missing one is made.
    """
    script = f'n=$(printf %b "{_octal(name)}"); ' + _FIND.format(kind, _ELSEWHERE) + _SHELL.format(kind)
    return _wrapped(script + (_TMUX if kind == "tmux" else _SCREEN), token, again=again)


def words(command: Sequence[str], token: str, *, again: bool) -> str:
    """Return the command that runs a list of words on the far side."""
    quoted = " ".join(f'"$(printf %b "{_octal(word)}")"' for word in command)
    return _wrapped(quoted, token, again=again)


def _wrapped(script: str, token: str, *, again: bool) -> str:
    """Return the line for the login shell; the trailing exit keeps our shell, and so its token, there."""
    before = _HANG_UP.format(token) if again else ""
    return f"exec sh -c ': {token}; {before}{script}; exit $?'"


def _octal(text: str) -> str:
    return "".join(f"\\0{byte:03o}" for byte in text.encode())
