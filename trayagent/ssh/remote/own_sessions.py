"""Identify and end the server's processes of the agent's own connections.

The parent of a mux session's shell is sshd's process for that connection (`sshd: user@notty`, since 9.8 `sshd-session:
user@notty`), or Dropbear's. This process runs as the user and holds the listeners of remote forwards. SIGTERM ends it,
even if its send buffer is full. Source: proc(5), sshd's session.c, measured with OpenSSH 9.2 and 10.5, and with
Dropbear 2022.83.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from trayagent.core.facts.remote_sessions import RemoteSession
from trayagent.ssh.remote import run_script
from trayagent.ssh.remote.leftover_sockets import free_script
from trayagent.ssh.remote.quote_script import quoted

# `mark PID` identifies an sshd process that the user may signal, even if the kernel reuses its pid. `mark` prints boot
# id, pid namespace and start time in ticks. Without Linux's /proc, `mark` prints host name and start time in seconds.
# For any other process, `mark` prints no text. Call the function as $(mark PID). With /proc, it starts no process
# except `readlink`.
MARK = """set -f
mark() {
kill -0 "$1" 2>/dev/null || return 0
if [ -r "/proc/$1/stat" ] && read -r b </proc/sys/kernel/random/boot_id; then
n=$(readlink /proc/self/ns/pid)
read -r s <"/proc/$1/stat"
set -- $s
case "$2$3" in *")Z") ;; "(sshd"*|"(dropbear"*) echo "$b/${n#pid:}/${22}" ;; esac
else
case $(ps -o comm= -p "$1") in *sshd*|*dropbear*)
s=$(TZ=UTC LC_ALL=C ps -o lstart= -p "$1")
set -- "$(uname -n)" $s
b=$1 && shift && IFS=_ && echo "$b//$*"
esac
fi
}
"""

# `end PID MARK NUMBER` ends a session if the pid still has this mark. `end` also removes the session's ssh-agent
# socket, which would be left behind without a listener. The name of that socket contains sshd's pid. Since OpenSSH 10.1
# it is in ~/.ssh/agent.
_END = """end() {
m=$(mark "$1")
if [ "$1" = "$PPID" ]; then echo "session $3 own"
elif [ -z "$m" ]; then echo "session $3 gone"
elif [ "$m" != "$2" ]; then echo "session $3 other"
elif kill "$1"; then
echo "session $3 ended"
set +f
for a in /tmp/ssh-*/agent."$1"; do [ -S "$a" ] && [ -O "$a" ] && rm -f "$a" && rmdir "${a%/*}"; done
for a in "$HOME"/.ssh/agent/s.*.sshd."$1".*; do [ -S "$a" ] && [ -O "$a" ] && rm -f "$a"; done
set -f
else echo "session $3 failed"
fi
}
"""


# kill(1) treats the pids 0 and 1 differently. The pattern is strict, because the server's answer goes into a script.
_SESSION = re.compile(
    r"(?![01] )([1-9][0-9]{0,9}) ([\w.:+\[\]-]{1,100}/[\w.:\[\]-]{0,40}/[\w:]{1,60})", re.ASCII
)


class Found(Struct, frozen=True):
    """The server's answer: its process for the present connection, and the result for each session and socket."""

    own: RemoteSession | None
    sessions: dict[RemoteSession, str]
    sockets: dict[str, str]


def parse_session(words: str) -> RemoteSession | None:
    """Return the session in a line `PID MARK`, or None if the server could not mark the session."""
    found = _SESSION.fullmatch(words.strip())
    return RemoteSession(int(found[1]), found[2]) if found else None


async def own(control_path: str) -> RemoteSession | None:
    """Return the server's process for this master's connection, or None without a shell or a recognizable sshd.

    Raise Timeout, Gone or Refused.
    """
    lines = await run_script.run(control_path, f'{MARK}echo "$PPID $(mark $PPID)"')
    return parse_session(lines[-1]) if lines else None


async def reap(
    control_path: str, sessions: Sequence[RemoteSession], sockets: Sequence[str], *, timeout_s: float
) -> Found | None:
    """End these sessions and remove these leftover sockets; return None if the server has no shell.

    The caller must have proof that the sessions are dead. The script checks that each pid still has its mark. Raise
    Timeout, Gone or Refused.
    """
    script = [MARK, _END]
    script += [f"end {one.pid} {quoted(one.mark)} {number}\n" for number, one in enumerate(sessions)]
    script.append(free_script(sockets, just_ended=bool(sessions)))
    script.append('echo "own $PPID $(mark $PPID)"')
    lines = await run_script.run(control_path, "".join(script), timeout_s=timeout_s)
    return None if lines is None else _found(lines, sessions, sockets)


def _found(lines: list[str], sessions: Sequence[RemoteSession], sockets: Sequence[str]) -> Found:
    session_of = {f"session {number}": one for number, one in enumerate(sessions)}
    socket_of = {f"socket {number}": path for number, path in enumerate(sockets)}
    found = Found(None, {}, {})
    for line in lines:
        subject, _, word = line.rpartition(" ")
        if line.startswith("own "):
            found = Found(parse_session(line.removeprefix("own ")), found.sessions, found.sockets)
        elif subject in session_of:
            found.sessions[session_of[subject]] = word
        elif subject in socket_of:
            found.sockets[socket_of[subject]] = word
    return found
