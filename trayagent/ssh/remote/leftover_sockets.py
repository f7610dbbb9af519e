"""Remove Unix sockets on the server that have no listener any more.

Lost remote forwards leave such sockets behind. Source: proc(5).
"""

from __future__ import annotations

from collections.abc import Sequence

from trayagent.ssh.remote.quote_script import quoted

# `free PATH NUMBER LOOKS` removes a Unix socket of this user if no process listens on it. Because of links, a
# listener's name proves nothing. So the script compares the files, by device and inode, of all listeners whose name has
# the same last part. If it cannot compare them, the socket counts as in use. A session that was just ended may take a
# moment to disappear, so the script checks up to LOOKS times more.
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


_SOCKET_LOOKS = 20  # pauses of 50 ms, only after a session was ended


def free_script(paths: Sequence[str], *, just_ended: bool) -> str:
    """Return the script that removes these sockets, and prints one line `socket NUMBER WORD` for each.

    `just_ended`: the script has just ended a session, so its sockets may still have a listener for a moment.
    """
    looks = _SOCKET_LOOKS if just_ended else 0
    return _FREE + "".join(f"free {quoted(path)} {number} {looks}\n" for number, path in enumerate(paths))
