"""The server-side process of our own connections: how it is recognized, and how it is ended.

The parent of a mux session's shell is sshd's process of that connection (`sshd: user@notty`, since 9.8
`sshd-session: user@notty`), which runs as the user and holds the listeners of remote forwards. SIGTERM has
its default action there, also when its send buffer is full. Source: proc(5), sshd's session.c, measured
with OpenSSH 9.2 and 10.5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trayagent.core.facts.remote_sessions import RemoteSession
from trayagent.ssh.remote import oneshot
from trayagent.ssh.remote.quoting import quoted

# `mark PID` prints what tells a process of sshd, ours to signal, from all others with that number: boot,
# namespace of pids and start time in ticks. Without Linux's /proc: name, start time in seconds. Nothing
# for any other process. Only `readlink` is a process of its own; it is called as $(mark PID).
MARK = """set -f
mark() {
kill -0 "$1" 2>/dev/null || return 0
if [ -r "/proc/$1/stat" ] && read -r b </proc/sys/kernel/random/boot_id; then
n=$(readlink /proc/self/ns/pid)
read -r s <"/proc/$1/stat"
set -- $s
case "$2$3" in "(sshd"*")Z") ;; "(sshd"*) echo "$b/${n#pid:}/${22}" ;; esac
else
case $(ps -o comm= -p "$1") in *sshd*)
s=$(TZ=UTC LC_ALL=C ps -o lstart= -p "$1")
set -- "$(uname -n)" $s
b=$1 && shift && IFS=_ && echo "$b//$*"
esac
fi
}
"""

# `end PID MARK NUMBER` ends a session that is still the one that was meant. Its agent socket (OpenSSH before 10.1
# puts its own pid into the name) would stay behind; whoever asks it got no answer anyway.
_END = """end() {
m=$(mark "$1")
if [ "$1" = "$PPID" ]; then echo "session $3 own"
elif [ -z "$m" ]; then echo "session $3 gone"
elif [ "$m" != "$2" ]; then echo "session $3 other"
elif kill "$1"; then
echo "session $3 ended"
set +f
for a in /tmp/ssh-*/agent."$1"; do [ -S "$a" ] && [ -O "$a" ] && rm -f "$a" && rmdir "${a%/*}"; done
set -f
else echo "session $3 failed"
fi
}
"""

# `free PATH NUMBER LOOKS` removes a Unix socket of this user on which nobody listens; a name says nothing (there are
# links), so that every listener whose name ends alike is compared by device and inode. What cannot be
# told counts as listening. The one that was just ended may take a moment to go.
_FREE = """heard() {
[ -r /proc/net/unix ] || return 0
grep -F -- "${1##*/}" /proc/net/unix | {
while read -r a b c d e f g p; do
case $p in
*/"${1##*/}") [ "$p" -ef "$1" ]; [ $? -eq 1 ] || exit 0 ;;
"${1##*/}") exit 0 ;;
esac
done
exit 1
}
}
free() {
if [ ! -e "$1" ] && [ ! -L "$1" ]; then echo "socket $2 absent"; return; fi
if [ -L "$1" ] || [ ! -S "$1" ] || [ ! -O "$1" ]; then echo "socket $2 busy"; return; fi
t=0
while heard "$1"; do
t=$((t+1))
if [ $t -gt $3 ]; then echo "socket $2 busy"; return; fi
sleep 0.05
done
rm -f -- "$1" && echo "socket $2 removed"
}
"""
_SOCKET_LOOKS = 20  # of 50 ms each, while something was just ended

# A pid of 0 or 1 would mean something else to kill(1); what a server says is put into a script again.
_SESSION = re.compile(
    r"(?![01] )([1-9][0-9]{0,9}) ([\w.:+\[\]-]{1,100}/[\w.:\[\]-]{0,40}/[\w:]{1,60})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Found:
    """What the far side said: its own session, and what became of each session and socket."""

    own: RemoteSession | None
    sessions: dict[RemoteSession, str]
    sockets: dict[str, str]


def told(words: str) -> RemoteSession | None:
    """Return the session of a line `PID MARK`, None where the far side could not mark it."""
    found = _SESSION.fullmatch(words.strip())
    return RemoteSession(int(found[1]), found[2]) if found else None


async def own(control_path: str) -> RemoteSession | None:
    """Return the far end of this master's connection, None where there is no shell or no sshd to tell.

    Raises Timeout, Gone, Refused.
    """
    lines = await oneshot.run(control_path, f'{MARK}echo "$PPID $(mark $PPID)"')
    return told(lines[-1]) if lines else None


async def reap(
    control_path: str, sessions: Sequence[RemoteSession], sockets: Sequence[str], *, timeout_s: float
) -> Found | None:
    """End these sessions and remove these left-over sockets; None where the far side has no shell.

    The caller has proof that nobody uses the sessions; that they are still what they were is checked there.
    Raises Timeout, Gone, Refused.
    """
    script = [MARK, _END, _FREE]
    script += [f"end {one.pid} {quoted(one.mark)} {number}\n" for number, one in enumerate(sessions)]
    looks = _SOCKET_LOOKS if sessions else 0
    script += [f"free {quoted(path)} {number} {looks}\n" for number, path in enumerate(sockets)]
    script.append('echo "own $PPID $(mark $PPID)"')
    lines = await oneshot.run(control_path, "".join(script), timeout_s=timeout_s)
    return None if lines is None else _found(lines, sessions, sockets)


def _found(lines: list[str], sessions: Sequence[RemoteSession], sockets: Sequence[str]) -> Found:
    session_of = {f"session {number}": one for number, one in enumerate(sessions)}
    socket_of = {f"socket {number}": path for number, path in enumerate(sockets)}
    found = Found(None, {}, {})
    for line in lines:
        subject, _, word = line.rpartition(" ")
        if line.startswith("own "):
            found = Found(told(line.removeprefix("own ")), found.sessions, found.sockets)
        elif subject in session_of:
            found.sessions[session_of[subject]] = word
        elif subject in socket_of:
            found.sockets[socket_of[subject]] = word
    return found
