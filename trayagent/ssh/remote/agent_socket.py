"""A link on the far side to the agent socket of the living connection, so that an old tmux window finds it.

sshd makes one agent socket per connection, under another name each time; what was started during an earlier
connection knows the earlier name. A link keeps one name for all of them. Nothing is replaced but a link to
such a socket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

from trayagent.ssh.remote import oneshot
from trayagent.ssh.remote.quoting import quoted

Outcome = Literal["linked", "kept", "other", "none", "hidden", "foreign", "occupied", "failed"]


@dataclass(frozen=True, slots=True)
class Linked:
    """What became of the link; `words` is the socket that it points to, or what stands in the way.

    `kept`: it was right already. `other`: it belongs to another connection, which answers. `none`: this
    connection has no agent socket. `hidden`: it has, but the shell's start-up files name another one.
    `foreign`: a link to something else stands there; `occupied`: something that is no link does.
    """

    outcome: Outcome
    words: str = ""


# Where sshd puts it: OpenSSH up to 10.0 names it by the process that is our parent here, later ones do not;
# start-up files may have set SSH_AUTH_SOCK to something else, such as this very link.
_FIND = """
umask 077
mine=
for f in /tmp/ssh-*/agent.$PPID; do [ -S "$f" ] && [ -O "$f" ] && mine=$f; done
if [ -z "$mine" ] && [ -S "$SSH_AUTH_SOCK" ] && ! [ -L "$SSH_AUTH_SOCK" ]; then
  case $SSH_AUTH_SOCK in */.ssh/agent/s.*.sshd.*|*/dropbear-*/auth-*) mine=$SSH_AUTH_SOCK ;; esac
fi
"""

# 0 and 1: it answers, with keys or without. A connection that is cut off accepts and says nothing.
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

# What ends takes its link along, or leaves it to another connection that answers; that one is looked for
# behind our back, because each that does not costs two seconds.
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
    """Return the script that makes the link; without `claim` it stays with another connection that answers.

    `ours` is what an earlier connection of ours made it point to, None where that is not known.
    """
    return f"{_names(link, ours)}claim={'1' if claim else ''}\n{_FIND}{_ANSWERS}{_TAKE}"


def release_script(link: str, ours: str) -> str:
    """Return the script that takes the link away if it points to our socket."""
    return f"{_names(link, ours)}{_ANSWERS}{_RELEASE}"


async def take(
    control_path: str,
    link: str,
    ours: str | None,
    *,
    claim: bool,
    timeout_s: float = oneshot.DEADLINE_S,
) -> Linked | None:
    """Make the link through this master; None where the far side runs nothing. Raises what `oneshot.run` does."""
    script = take_script(link, ours, claim=claim)
    lines = await oneshot.run(control_path, script, want_agent=True, timeout_s=timeout_s)
    if lines is None:
        return None
    for line in lines:
        outcome, _, words = line.partition(" ")
        if outcome in get_args(Outcome):
            return Linked(cast("Outcome", outcome), "".join(c for c in words if c.isprintable()))
    return Linked("failed", "the server's shell did not answer")


async def release(control_path: str, link: str, ours: str, *, timeout_s: float) -> None:
    """Take the link away, as what it points to is about to end. Raises what `oneshot.run` does."""
    await oneshot.run(control_path, release_script(link, ours), timeout_s=timeout_s)


def _names(link: str, ours: str | None) -> str:
    place = f'"$HOME"/{quoted(link[2:])}' if link.startswith("~/") else quoted(link)
    return f"link={place}\nours={quoted(ours or '')}\n"
