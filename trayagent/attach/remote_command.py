"""Build the remote command of a session so that no login shell can misread it; pure.

Theory of operation. sshd hands one string to the user's login shell, which may be bash, dash, zsh, fish,
csh or tcsh. The string is `exec sh -c ': TOKEN; SCRIPT'`. SCRIPT contains no character that one of these
shells treats specially within single quotes: no single quote, no exclamation mark (csh), no newline (csh),
no two backslashes in a row and no backslash before a quote (fish). Text from the user (a session's name, a
command's words) is encoded as octal numbers for printf's %b (POSIX), so that each shell treats it as data.

TOKEN marks our shell on the server, near the beginning of the command line that ps shows. When a connection
dies, its session may stay on the server for hours, until sshd notices. The dead client keeps tmux's windows at
its size, and blocks screen's output once its terminal's buffer is full. So each new session of the same
`attach` sends SIGHUP to the process groups with its token, as sshd would do at last, and to no others. This
runs in the background, so that the new session does not wait.
"""

from __future__ import annotations

import re

from trayagent.errors import TrayagentError

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = re.compile(r"\w[\w+@=,~-]{0,63}")
"""The names that both tmux and screen accept unchanged: tmux reserves the colon and the dot, screen the slash and the
dot."""
NAME_RULE = (
    "A name has up to 64 letters, digits and signs of _ - + @ = , ~ and begins with a letter or digit."
)

# Package managers install programs in these directories. They are often not in the PATH of a shell that is not a
# login shell.
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
# screen matches name prefixes (main finds main2) and dead sessions, so look for a living session by its
# full name.
_SCREEN = (
    "s=$(screen -ls | while read -r i x; do case $x in *[Dd]ead*) continue;; esac; "
    'case $i in [0-9]*.*) [ "${i#*.}" = "$n" ] && { echo "$i"; break; };; esac; done); '
    'if [ -n "$s" ]; then screen -x "$s"; else screen -S "$n"; fi'
)


def check_name(name: str) -> None:
    """Raise TrayagentError (session-name) unless the name is a valid session name."""
    if not NAME.fullmatch(name):
        shown = name if len(name) <= 40 else f"{name[:40]}…"
        title = f'"{shown}" cannot be the name of a session.'
        raise TrayagentError(title, code="session-name", hint=NAME_RULE)


def multiplexer(kind: str, name: str, token: str, *, again: bool) -> str:
    """Return the remote command that opens session `name` of tmux or screen (`kind`).

    If the session exists, it is shared with the user's other terminals; otherwise it is created. `again`: an
    earlier connection was lost, so end what it left behind.
    """
    script = f'n=$(printf %b "{_octal(name)}"); ' + _FIND.format(kind, _ELSEWHERE) + _SHELL.format(kind)
    return _wrapped(script + (_TMUX if kind == "tmux" else _SCREEN), token, again=again)


def words(command: Sequence[str], token: str, *, again: bool) -> str:
    """Return the remote command that runs a list of words."""
    quoted = " ".join(f'"$(printf %b "{_octal(word)}")"' for word in command)
    return _wrapped(quoted, token, again=again)


def _wrapped(script: str, token: str, *, again: bool) -> str:
    """Return the line for the login shell.

    The `exit` at its end keeps our sh running during the last command, so that ps shows the token.
    """
    before = _HANG_UP.format(token) if again else ""
    return f"exec sh -c ': {token}; {before}{script}; exit $?'"


def _octal(text: str) -> str:
    return "".join(f"\\0{byte:03o}" for byte in text.encode())
