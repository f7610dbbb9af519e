"""Keep a link on the server to the ssh-agent socket of the living connection, for old tmux windows.

sshd makes one ssh-agent socket per connection, with a new name each time. Programs from an earlier connection know only
the earlier name. The link always has the same name, so all programs find the present socket through it. The script
never replaces a link to anything else.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

from msgspec import Struct

from trayagent.ssh.remote import run_script
from trayagent.ssh.remote.quote_script import quoted

Outcome = Literal["linked", "kept", "other", "none", "hidden", "foreign", "occupied", "failed"]


class Linked(Struct, frozen=True):
    """The result of making the link; `words` is the socket that the link points to, or the obstacle.

    `kept`: the link already pointed to this socket. `other`: the link points to the socket of another connection, which
    answers. `none`: this connection has no ssh-agent socket. `hidden`: it has one, but the shell's start-up files set
    another in SSH_AUTH_SOCK. `foreign`: the path is a link to something else. `occupied`: the path exists and is not a
    link.
    """

    outcome: Outcome
    words: str = ""


# Find the socket that sshd made. OpenSSH up to 10.0 names it after the process that is the script's parent. Later
# versions use other names. Start-up files may have set SSH_AUTH_SOCK to another path, such as the link.
_FIND = """
umask 077
mine=
for f in /tmp/ssh-*/agent.$PPID; do [ -S "$f" ] && [ -O "$f" ] && mine=$f; done
if [ -z "$mine" ] && [ -S "$SSH_AUTH_SOCK" ] && ! [ -L "$SSH_AUTH_SOCK" ]; then
  case $SSH_AUTH_SOCK in */.ssh/agent/s.*.sshd.*|*/dropbear-*/auth-*) mine=$SSH_AUTH_SOCK ;; esac
fi
"""

# ssh-add exits with 0 or 1 if the ssh-agent answers, with or without keys. The socket of a dead connection accepts the
# query and never answers, hence the timeout.
_ANSWERS = """
answers() { SSH_AUTH_SOCK=$1 timeout 2 ssh-add -l >/dev/null 2>&1; [ $? -lt 2 ]; }
"""

_TAKE = """
[ -n "$mine" ] || { [ -n "$SSH_AUTH_SOCK" ] && echo hidden "$SSH_AUTH_SOCK" || echo none; exit; }
there=
if [ -L "$link" ]; then
  there=$(readlink "$link")
  case $there in */ssh-*/agent.*|*/.ssh/agent/s.*|*/dropbear-*/auth-*) ;; *) echo foreign "$there"; exit ;; esac
elif [ -e "$link" ]; then echo occupied; exit
fi
[ "$there" != "$mine" ] || { echo kept "$mine"; exit; }
if [ "$there" != "$ours" ] && [ -z "$claim" ] && [ -S "$there" ] && answers "$there"; then
  echo other "$there"; exit
fi
folder=${link%/*} new=$link.trayagent.$$
said=$({ mkdir -p "${folder:-/}" && rm -f "$new" && ln -s "$mine" "$new" && mv -f "$new" "$link"; } 2>&1) &&
  echo linked "$mine" || { rm -f "$new"; echo failed $said; }
"""

# Remove the link when its connection ends. If another connection answers, point the link to that one. The search for
# such a connection runs in the background, because each socket without an answer costs two seconds.
_RELEASE = """
[ "$(readlink "$link")" = "$ours" ] || exit
rm -f "$link"
echo released
(
  for f in $(ls -t /tmp/ssh-*/agent.* "$HOME"/.ssh/agent/s.*.sshd.* 2>/dev/null); do
    [ "$f" != "$ours" ] && [ -S "$f" ] && [ -O "$f" ] || continue
    case $f in /tmp/*) case $(ps -o comm= -p "${f##*.}") in *sshd*) ;; *) continue ;; esac ;; esac
    answers "$f" || continue
    ln -s "$f" "$link"
    exit
  done
) >/dev/null 2>&1 </dev/null &
"""


def take_script(link: str, ours: str | None, *, claim: bool) -> str:
    """Return the script that makes the link; without `claim`, it keeps a link to another connection that answers.

    `ours` is the socket to which the agent's earlier connection set the link, None if unknown.
    """
    return f"{_names(link, ours)}claim={'1' if claim else ''}\n{_FIND}{_ANSWERS}{_TAKE}"


def release_script(link: str, ours: str) -> str:
    """Return the script that removes the link if it points to the socket `ours`."""
    return f"{_names(link, ours)}{_ANSWERS}{_RELEASE}"


async def take(
    control_path: str,
    link: str,
    ours: str | None,
    *,
    claim: bool,
    timeout_s: float = run_script.DEADLINE_S,
) -> Linked | None:
    """Make the link through this master; return None if the server runs no command.

    Raise as `run_script.run` does.
    """
    script = take_script(link, ours, claim=claim)
    lines = await run_script.run(control_path, script, want_agent=True, timeout_s=timeout_s)
    if lines is None:
        return None
    for line in lines:
        outcome, _, words = line.partition(" ")
        if outcome in get_args(Outcome):
            return Linked(cast("Outcome", outcome), "".join(c for c in words if c.isprintable()))
    return Linked("failed", "the server's shell did not answer")


async def release(control_path: str, link: str, ours: str, *, timeout_s: float) -> None:
    """Remove the link, because its target is about to end. Raise as `run_script.run` does."""
    await run_script.run(control_path, release_script(link, ours), timeout_s=timeout_s)


def _names(link: str, ours: str | None) -> str:
    place = f'"$HOME"/{quoted(link[2:])}' if link.startswith("~/") else quoted(link)
    return f"link={place}\nours={quoted(ours or '')}\n"
