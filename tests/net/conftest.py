"""Fixtures: a separate network namespace for each test, also for an ordinary user."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import time
import traceback
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from trayagent.net import linux_snapshot

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
DEADLINE_S = 20.0
TUNSETIFF, IFF_TUN, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x1, 0x2, 0x1000


def need(present: object, what: str) -> None:
    """If something is missing, skip on a laptop, but fail in CI."""
    if present:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


class World:
    """A network namespace in which a coroutine runs, with methods that change the network."""

    def run(self, body: Callable[[], Awaitable[None]]) -> None:
        """Run `body` in a new namespace with `lo` up. Fail or skip as `body` does."""

        async def limited() -> None:
            self.ip("link set lo up")
            async with asyncio.timeout(3 * DEADLINE_S):
                await body()

        run_apart(lambda: asyncio.run(limited()))

    def ip(self, *lines: str) -> None:
        """Change the network with iproute2 commands in one process, some tens of microseconds apart."""
        done = subprocess.run(
            ["ip", "-batch", "-"],
            input="\n".join(lines) + "\n",
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, f"{lines}: {done.stderr}"

    def wires(self, *names: str) -> None:
        """Create veth pairs NAME and far-NAME without IPv6 addresses. Return when they are up.

        The kernel reports the carrier a moment after ip(8) has ended. A test that began earlier would get that
        report.
        """
        for name in names:
            self.ip(
                f"link add {name} type veth peer name far-{name}",
                f"link set {name} addrgenmode none",
                f"link set far-{name} addrgenmode none",
                f"link set {name} up",
                f"link set far-{name} up",
            )
        end = time.monotonic() + DEADLINE_S
        while not all(self.is_up(name) for near in names for name in (near, f"far-{near}")):
            assert time.monotonic() < end, "the wires have no carrier"
            time.sleep(0.001)

    def is_up(self, name: str) -> bool:
        """Report whether an interface is up and has carrier."""
        found = linux_snapshot.read().interface(name)
        return found is not None and found.up

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Let the loop run until the condition is true. Fail with `what` after the deadline."""
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, f"not within {DEADLINE_S} s: {what}"
            await asyncio.sleep(0.002)

    async def turns(self, count: int = 5) -> None:
        """Let the loop poll its descriptors, so that it reads the kernel's queued messages."""
        for _ in range(count):
            await asyncio.sleep(0)

    def tun(self, name: str, *, tap: bool = False) -> int:
        """Open a tun (or tap) device, as a VPN does. Return its descriptor, or skip if that is forbidden."""
        try:
            fd = os.open("/dev/net/tun", os.O_RDWR)
        except OSError as e:
            need(False, f"an openable /dev/net/tun ({e.strerror})")
            raise
        flags = (IFF_TAP if tap else IFF_TUN) | IFF_NO_PI
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        return fd


def _enter() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _in_child(body: Callable[[], object], report: int) -> None:
    """Run the body in a forked child. Write the error or "skip: …", and never return."""
    text = b""
    try:
        _enter()
        body()
    except pytest.skip.Exception as e:
        text = f"skip: {e}".encode()
    except BaseException:  # the parent raises any exception again
        text = traceback.format_exc().encode()
    with contextlib.suppress(OSError):
        os.write(report, text[-60000:])
    os._exit(0)


def run_apart(body: Callable[[], object]) -> None:
    """Run `body` in a child with its own user and network namespace. Fail or skip as `body` does."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Ignore Python 3.12's warning about threads at a fork, because this child only runs the body and ends.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(reading)
        _in_child(body, writing)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            text = pipe.read().decode()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if text.startswith("skip: "):
        pytest.skip(text.removeprefix("skip: "))
    assert not text, text


@pytest.fixture(scope="session")
def _namespaces() -> None:
    need(shutil.which("ip"), "ip (iproute2)")
    try:
        run_apart(lambda: None)
    except AssertionError as e:
        need(False, f"a network namespace of one's own ({e})")


@pytest.fixture
def world(_namespaces: None) -> World:
    """Return a new namespace."""
    return World()
