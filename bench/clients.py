"""Common programs that use ssh, as shell scripts that run in the laptop's home directory."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bench.scenarios import HOST
from trayagent.sandbox import Lab
from trayagent.sandbox.lab_tools import search_path

# The sizes of transfers. At MBIT_S each takes longer than any event needs to begin.
SIZE, MBIT_S = 6_000_000, 4.0
ECHO_PORT = 8000
LOCAL_PORT, SOCKS_PORT = 9000, 9080
# Addresses that only the server reaches: one for the open sshuttle, one for its next run.
BEHIND = ("198.51.100.1", "198.51.100.2")


@dataclass(frozen=True)
class Client:
    """A program, as two scripts.

    `open` runs during the event. It prints each line of its input when the line went to the server and back, and
    ends when the program ends. A transfer (`transfers`) prints the line once, when the transfer is complete. `again`
    runs the same program once more, and succeeds if the program does. With `terminal`, `open` is one command at a
    terminal. It gets the text `terminal`, in which % is replaced by a word, and prints the answer with that word.
    `forward` is added to ssh_config. `impossible` returns the reason why this machine cannot run the program, or
    None. `begun` reports whether a transfer has begun, by default by the number of frames on the lines.
    """

    title: str
    open: str
    again: str
    needs: tuple[str, ...] = ()
    transfers: bool = False
    reconnects: bool = False
    terminal: str | None = None
    forward: tuple[str, str] | None = None
    impossible: Callable[[], str | None] = lambda: None
    begun: Callable[[Lab], bool] | None = None

    def missing(self) -> str | None:
        """Return the reason why this machine cannot run the program, or None."""
        lacking = (f"{name} is not installed" for name in self.needs if not shutil.which(name, path=path()))
        return next(lacking, None) or self.impossible()


def path() -> str:
    """Return the PATH for these programs. It includes the directory where `make fleet-check` installs Ansible."""
    return f"{search_path()}:{Path(__file__).parents[1] / '.tools/fleet/bin'}"


def prepare(lab: Lab, client: Client) -> None:
    """Write the files and start the services that the program uses."""
    near, far = lab.files.home, lab.files.far_home
    (far / "shared").mkdir()
    large = Random(SIZE).randbytes(SIZE)  # noqa: S311  # random data cannot be compressed
    for file in (near / "large", far / "large"):
        file.write_bytes(large)
    for file in (near / "small", far / "small", far / "shared/book"):
        file.write_text("small\n")
    for name in ("large", "small") if "git" in client.needs else ():
        work, bare = str(near / f"{name}-work"), str(far / f"{name}.git")
        script = (
            f"set -e; git init -q --bare {bare}; git init -q {work}; cp {name} {work}; cd {work}; git add .; "
            f"git -c user.name=me -c user.email=me@here commit -qm one; git push -q {bare} HEAD:refs/heads/main; "
            f"git init -q {near}/fresh-{name}; git init -q --bare {far}/empty-{name}.git"
        )
        lab.laptop.check(["sh", "-c", script])
    (near / "hosts.ini").write_text(f"{HOST} ansible_python_interpreter={sys.executable}\n")
    tasks = [{"shell": f"echo {number} >>{far}/done; sleep 3"} for number in range(3)]
    (near / "book.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    lab.echo(ECHO_PORT)
    for address in BEHIND:
        lab.server.ip(f"address add {address}/32 dev lo")
        lab.echo(ECHO_PORT, address)


def _transfer(title: str, command: str) -> Client:
    """Return a program that transfers a file.

    SIZE in the command is replaced by `large`, or by `small` in the next run.
    """
    return Client(
        title,
        f"{command.replace('SIZE', 'large')} && read -r line && echo $line",
        command.replace("SIZE", "small"),
        needs=(title.split(maxsplit=1)[0],),
        transfers=True,
    )


def _talk(count: int, port: int, *target: int, address: str = "127.0.0.1") -> str:
    words = [sys.executable, "-I", Path(__file__).with_name("talk.py"), count, address, port, *target]
    return " ".join(map(str, words))


def _editor(port: int) -> str:
    words = [sys.executable, "-I", Path(__file__).with_name("editor.py"), HOST, port, ECHO_PORT]
    return " ".join(map(str, words))


def _mount(options: str, after_an_error: str) -> str:
    return f"""
mkdir mounted; sshfs -f {options} {HOST}:shared mounted & sshfs=$!
until [ -e mounted/book ]; do kill -0 $sshfs || exit 1; sleep 0.1; done
while read -r line; do
    until echo $line >mounted/note && [ "$(cat mounted/note)" = "$line" ]; do
        {after_an_error}
        kill -0 $sshfs || exit 1
        sleep 0.1
    done
    echo $line
done
"""


def _sshuttle(address: str, then: str) -> str:
    """Return a script that ends with sshuttle, which the last command may use and end.

    A connection that begins before sshuttle catches the address would hang.
    """
    return f"""
exec 3<&0
sshuttle --method nft --disable-ipv6 -r {HOST} {address}/32 & sshuttle=$!
trap 'kill $sshuttle' EXIT
until echo x | timeout 1 {_talk(1, ECHO_PORT, address=address)} | grep -q x; do kill -0 $sshuttle || exit 1; done
{then}
"""


def _no_fuse() -> str | None:
    return None if os.access("/dev/fuse", os.R_OK | os.W_OK) else "/dev/fuse is missing or not ours"


def _not_root() -> str | None:
    return None if os.getuid() == 0 else "the sandbox gives only root this right"


_MOUNT_AGAIN = f"""
mkdir -p again; sshfs {HOST}:shared again || exit 1
cat again/book; status=$?
umount again
exit $status
"""
_ANSIBLE = "ANSIBLE_HOME=$HOME/ansible ANSIBLE_LOCALHOST_WARNING=no"
_TMUX = "tmux -f /dev/null -CC new-session -A -s"
_ON_TERMINAL = "script --quiet --return --command"
CLIENTS = {
    "git-fetch": _transfer("git fetch", f"git -C fresh-SIZE fetch -q {HOST}:SIZE.git main"),
    "git-push": _transfer(
        "git push", f"git -C SIZE-work push -qf {HOST}:empty-SIZE.git HEAD:refs/heads/main"
    ),
    "rsync": _transfer("rsync", f"rsync SIZE {HOST}:from-rsync-SIZE"),
    "scp": _transfer("scp", f"scp -q SIZE {HOST}:from-scp-SIZE"),
    "sftp": _transfer("sftp", f"echo get SIZE from-sftp-SIZE | sftp -q -b - {HOST}"),
    "sshfs": Client("sshfs", _mount("", "exit 1"), _MOUNT_AGAIN, needs=("sshfs",), impossible=_no_fuse),
    "sshfs-reconnect": Client(
        "sshfs -o reconnect",
        _mount("-o reconnect", ""),
        "cat mounted/book",
        needs=("sshfs",),
        reconnects=True,
        impossible=_no_fuse,
    ),
    "ansible": Client(
        "ansible-playbook (its own ControlPersist)",
        f"{_ANSIBLE} ansible-playbook -i hosts.ini book.json && read -r line && echo $line",
        f"{_ANSIBLE} ansible all -i hosts.ini -m ping",
        needs=("ansible-playbook",),
        transfers=True,
        begun=lambda lab: (lab.files.far_home / "done").exists(),
    ),
    "tmux": Client(
        "tmux -CC",
        f"ssh -t {HOST} {_TMUX} work",
        # tmux discards what it gets before it starts
        f"while echo detach-client; do sleep 0.2; done | ssh -tt {HOST} {_TMUX} again | grep -q %exit",
        needs=("tmux",),
        terminal='display-message -p "#{l:answer}-%"\n',
        impossible=_not_root,
    ),
    "editor": Client("ssh -T -D, as editors use it", _editor(9081), f"echo x | {_editor(9082)} | grep -q x"),
    "socks": Client(
        "50 connections through -D",
        f"ssh -n {HOST} true && {_talk(50, SOCKS_PORT, ECHO_PORT)}",
        f"ssh {HOST} true && echo x | {_talk(50, SOCKS_PORT, ECHO_PORT)} | grep -q x",
        forward=("DynamicForward", str(SOCKS_PORT)),
    ),
    "tcp": Client(
        "a TCP connection through -L",
        f"ssh -n {HOST} true && {_talk(1, LOCAL_PORT)}",
        f"ssh {HOST} true && echo x | {_talk(1, LOCAL_PORT)} | grep -q x",
        forward=("LocalForward", f"{LOCAL_PORT} 127.0.0.1:{ECHO_PORT}"),
    ),
    "sshuttle": Client(
        "sshuttle",
        _sshuttle(BEHIND[0], f"{_talk(1, ECHO_PORT, address=BEHIND[0])} <&3 & wait $sshuttle"),
        _sshuttle(BEHIND[1], "true"),
        needs=("sshuttle",),
        impossible=_not_root,
    ),
    "mosh": Client(
        "mosh, started over the master",
        f"mosh --experimental-remote-ip=remote {HOST} -- sh",
        f"{_ON_TERMINAL} 'stty rows 24 columns 80; mosh --experimental-remote-ip=remote {HOST} -- true' /dev/null",
        needs=("mosh", "mosh-server"),
        terminal="echo ans''wer-%\r",
        impossible=_not_root,
    ),
}
