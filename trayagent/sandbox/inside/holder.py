"""The process that keeps the laboratory's namespaces, and ends every process in them when its parent has ended.

Usage: holder.py FOLDER

It reads one order (a JSON line) from stdin. It answers on stdout with the numbers of the descriptors that
hold the namespaces, for `nsenter --net=/proc/PID/fd/N`. No namespace has a name in the file system, so two
laboratories cannot collide and no namespace is left behind. Stdin also ends when the parent is killed. At the
end of stdin, the holder ends every process in the namespaces and removes the laboratory's folder.

The laboratory covers some files of the machine with its own, and the machine can undo that. If a program
replaces /etc/passwd on the machine (useradd, the installation of a package), the kernel detaches the cover in
every mount namespace. So each mount namespace has a guard process, which the kernel notifies of such a
change. The holder then ends every process in the namespaces, before one reads the real home.

If the user is not root, the holder first creates a user namespace in which the user is root. Programs of the
laptop and sshd run in a second user namespace below it. There the user has the original uid again and no
capability.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18

_PR_SET_PDEATHSIG = 1  # prctl(2)
# how often to kill again, because a process may just have been entering when a cover was lost
_AGAIN_S = 0.02

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _unshare(flags: int, what: str) -> None:
    _checked(_libc.unshare(flags), what)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    kind_word = kind.encode() if kind else None
    words = source.encode(), target.encode(), kind_word, flags, options.encode() or None
    _checked(_libc.mount(*words), f"mount {target}")


def _namespace_of_child(kind: str, enter: Callable[[], None], outside: Callable[[int], None]) -> int:
    """Start a child that calls `enter`, call `outside(pid)` here, and return the child's new namespace."""
    entered_r, entered_w = os.pipe()
    done_r, done_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = b""
        try:
            enter()
        except OSError as error:
            answer = json.dumps([error.errno, str(error)]).encode()
        os.write(entered_w, answer or b"ok")
        os.close(done_w)
        os.read(done_r, 1)
        os._exit(0)
    os.close(entered_w)
    try:
        answer = os.read(entered_r, 4096)
        if answer != b"ok":
            number, text = json.loads(answer)
            raise OSError(number, text)
        outside(pid)
        return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
    finally:
        for descriptor in (entered_r, done_r, done_w):
            os.close(descriptor)
        os.waitpid(pid, 0)


def _become_root() -> tuple[int, int]:
    """Enter a user namespace as its root.

    Return descriptors of it and of the second one below, with the original uid.
    """
    uid, gid = os.getuid(), os.getgid()
    _unshare(CLONE_NEWUSER, "user namespace")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")

    def map_back(pid: int) -> None:
        Path(f"/proc/{pid}/uid_map").write_text(f"{uid} 0 1")
        Path(f"/proc/{pid}/gid_map").write_text(f"{gid} 0 1")

    own = _namespace_of_child("user", lambda: _unshare(CLONE_NEWUSER, "second user namespace"), map_back)
    return os.open("/proc/self/ns/user", os.O_RDONLY), own


def _network(settings: dict[str, str]) -> int:
    """Move to a new network namespace with those sysctls, and return its descriptor."""
    _unshare(CLONE_NEWNET, "network namespace")
    for key, value in settings.items():
        path = Path("/proc/sys", *key.split("/"))
        if path.exists():  # a kernel without IPv6 lacks these sysctls
            path.write_text(value)
    return os.open("/proc/self/ns/net", os.O_RDONLY)


def _mounts(steps: list[list[str]]) -> None:
    """Enter a private mount namespace and apply the steps: [kind or "bind", source, target]."""
    _unshare(CLONE_NEWNS, "mount namespace")
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    for kind, source, target in steps:
        if kind == "mkdir":
            Path(target).mkdir(parents=True, exist_ok=True)
        elif not Path(target).exists():
            continue  # a path that the machine lacks needs no cover
        elif kind == "bind":
            _mount(source, target, None, MS_BIND | MS_REC)
        elif kind == "overlay":  # adds the source's files to the target's; read-only
            with contextlib.suppress(OSError):
                # fails without overlayfs, or for an ordinary user before Linux 5.11
                _mount("lab", target, "overlay", 0, f"lowerdir={target}:{source}")
        elif kind == "sysfs":
            # Some containers forbid a second sysfs; then /sys/class/net shows the machine's own devices.
            with contextlib.suppress(OSError):
                _mount(source, target, kind, MS_NOSUID | MS_NODEV | MS_NOEXEC)
        else:
            _mount(source, target, kind, MS_NOSUID | MS_NODEV)


def covers(steps: list[list[str]]) -> dict[str, tuple[int, int]]:
    """Return each covered target with the identity of the file that covers it."""
    # Read the covers inside the namespace, because a later mount may have hidden an earlier one.
    return {target: identity(target) for kind, _, target in steps if kind == "bind" and Path(target).exists()}


def _guarded(steps: list[list[str]], lost: int) -> tuple[int, int, dict[str, tuple[int, int]]]:
    """Create a mount namespace. Return its descriptor, the pid of its guard, and the covers that the guard watches."""
    told_r, told_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            _mounts(steps)
            # so that a signal to all processes of a node does not reach the guard
            _unshare(CLONE_NEWNET, "network namespace")
            guarded = covers(steps)
        except OSError as error:
            os.write(told_w, json.dumps({"errno": error.errno, "error": str(error)}).encode() + b"\n")
            os._exit(1)
        os.write(told_w, json.dumps({"covers": guarded}).encode() + b"\n")
        os.close(told_w)
        _guard(guarded, lost)
        os._exit(0)
    os.close(told_w)
    with open(told_r) as file:  # noqa: PTH123 - a descriptor has no Path
        answer = json.loads(file.readline() or '{"errno": 0, "error": "no guard"}')
    if "error" in answer:
        os.waitpid(pid, 0)
        raise OSError(answer["errno"], answer["error"])
    return os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY), pid, answer["covers"]


def _guard(guarded: dict[str, tuple[int, int]], lost: int) -> None:
    """Return when a target is no longer covered by its known file.

    Every change of the mounts wakes the guard (proc(5)).
    """
    with open("/proc/self/mountinfo") as mounts:  # noqa: PTH123 - polled, not read
        poller = select.poll()
        poller.register(mounts, select.POLLPRI | select.POLLERR)
        while True:
            for target, known in guarded.items():
                try:
                    same = identity(target) == tuple(known)
                except OSError:
                    same = False
                if not same:
                    os.write(lost, b"!")
                    return
            poller.poll()


def processes_in(networks: set[tuple[int, int]]) -> list[int]:
    """Return the pids of the processes in one of the network namespaces (device, inode)."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # the process ended, or belongs to another user
                if identity(f"{folder}/ns/net") in networks:
                    found.append(int(folder.name))
    return found


def end_processes(networks: set[tuple[int, int]], deadline_s: float = 5.0) -> bool:
    """Kill every process in the namespaces. Report whether all of them ended in time."""
    limit = time.monotonic() + deadline_s
    while left := processes_in(networks):
        for pid in left:
            with contextlib.suppress(OSError):
                handle = os.pidfd_open(pid)  # type: ignore[attr-defined, unused-ignore]  # Linux only
                try:
                    if identity(f"/proc/{pid}/ns/net") in networks:  # the pid may have been reused by now
                        signal.pidfd_send_signal(handle, signal.SIGKILL)  # type: ignore[attr-defined, unused-ignore]  # Linux only
                finally:
                    os.close(handle)
        if time.monotonic() > limit:
            return False
        time.sleep(0.005)
    return True


def identity(path: str) -> tuple[int, int]:
    """Return the identity of a namespace: the device and inode of its file."""
    stat = Path(path).stat()
    return stat.st_dev, stat.st_ino


def _build(order: dict[str, Any], lost: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "pid": os.getpid(), "user": None, "own": None, "net": {}, "mnt": {}, "guards": {}, "covers": {},
    }  # fmt: skip
    if os.getuid() != 0:
        answer["user"], answer["own"] = _become_root()
    for name, settings in order["nodes"].items():
        answer["net"][name] = _network(settings)
        if name in order["mounts"]:
            made = _guarded(order["mounts"][name], lost)
            answer["mnt"][name], answer["guards"][name], answer["covers"][name] = made
    # The holder is in no node's namespace, so a signal to all processes of a node does not reach it.
    _unshare(CLONE_NEWNET, "network namespace")
    return answer


def _watch(networks: set[tuple[int, int]], lost: int) -> None:
    """Wait for the end of stdin.

    If a cover is lost, kill every process in the namespaces again and again until then.
    """
    broken = False
    while True:
        ready = select.select([0, lost], [], [], _AGAIN_S if broken else None)[0]
        if 0 in ready and not os.read(0, 4096):
            return
        if lost in ready:
            os.read(lost, 4096)
            broken = True
        if broken:
            end_processes(networks)


def main() -> None:
    """Build the namespaces, answer, wait for the end of stdin, and clean up."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        # ignore signals, because the holder must clean up: only the end of stdin ends it
        signal.signal(number, signal.SIG_IGN)
    networks: set[tuple[int, int]] = set()
    lost_r, lost_w = os.pipe()
    try:
        order = sys.stdin.readline()
        if not order:
            return
        try:
            answer = _build(json.loads(order), lost_w)
        except OSError as error:
            answer = {"errno": error.errno, "error": str(error)}
        networks = {identity(f"/proc/self/fd/{fd}") for fd in answer.get("net", {}).values()}
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(answer), flush=True)  # noqa: T201 - the answer to the parent
        _watch(networks, lost_r)
    finally:
        end_processes(networks)
        shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
