"""What a later agent must know: the masters that are ours, and what was learned of each host.

One small JSON file in the state folder, replaced atomically. A master is known again by
control path, pid, start time and boot, so that a recycled pid is nobody's.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trayagent.agent import refusals
from trayagent.core.events import Remembered
from trayagent.core.failure import Failure
from trayagent.core.hosts import Host, Master, Place

log = logging.getLogger(__name__)

VERSION = 1


def boot_id() -> str:
    """Return what names this boot of the machine, "" where nothing does."""
    try:
        if sys.platform == "darwin":
            asked = ["sysctl", "-n", "kern.bootsessionuuid"]
            return subprocess.run(
                asked, capture_output=True, text=True, check=False, timeout=1
            ).stdout.strip()
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt on its way: for which host, the control path that it is meant for, and where it logs."""

    host: str
    target: str
    log: str


class Records:
    """The file and what is in it. A damaged file is put aside: the agent must start."""

    def __init__(self, path: Path, agent_mark: Callable[[], str] = str) -> None:
        """`agent_mark` names the ssh-agent of now."""
        self._path = path
        self._agent_mark = agent_mark
        self._boot = boot_id()
        self._data: dict[str, Any] = {
            "version": VERSION, "masters": {}, "attempts": {}, "hosts": {}, "paused_until": None,
            "far": {},
        }  # fmt: skip
        self._read()

    # Masters.

    def add_master(self, master: Master, host: str, forwards: list[str]) -> None:
        """Keep that this master is ours."""
        self._data["masters"][str(master.pid)] = {
            "path": master.control_path,
            "start": master.start_ticks,
            "boot": self._boot,
            "host": host,
            "forwards": forwards,
        }
        self._write()

    def drop_master(self, pid: int) -> None:
        """Forget a master that is gone."""
        if self._data["masters"].pop(str(pid), None) is not None:
            self._write()

    def is_ours(self, pid: int, start_ticks: int) -> bool:
        """Report whether this very process was started by us."""
        return self._known(pid, start_ticks) is not None

    def opened(self, pid: int, start_ticks: int) -> list[str]:
        """Return the forwards that were opened on a master of ours, as "kind spec"."""
        known = self._known(pid, start_ticks)
        return list(known["forwards"]) if known is not None else []

    def set_forwards(self, pid: int, forwards: list[str]) -> None:
        """Keep which forwards are open on a master of ours."""
        known = self._data["masters"].get(str(pid))
        if known is not None and known["forwards"] != forwards:
            known["forwards"] = forwards
            self._write()

    def host_of(self, pid: int, start_ticks: int) -> str | None:
        """Return for which host a master of ours was started."""
        known = self._known(pid, start_ticks)
        return str(known["host"]) if known is not None else None

    def path_of(self, pid: int) -> str | None:
        """Return the control path that a master of ours was given."""
        known = self._data["masters"].get(str(pid))
        return str(known["path"]) if known is not None else None

    def keep_only(self, living: set[int]) -> None:
        """Forget all masters but these."""
        masters = {pid: m for pid, m in self._data["masters"].items() if int(pid) in living}
        if masters != self._data["masters"]:
            self._data["masters"] = masters
            self._write()

    # Attempts.

    def begin_attempt(self, path: str, begun: Begun) -> None:
        """Keep that an ssh of ours is about to listen on this fresh path."""
        self._data["attempts"][path] = {**asdict(begun), "boot": self._boot}
        self._write()

    def end_attempt(self, path: str) -> None:
        """Forget it: its master is in place, or gone."""
        if self._data["attempts"].pop(path, None) is not None:
            self._write()

    def is_begun(self, path: str) -> bool:
        """Report whether this is the path of an attempt."""
        return path in self._data["attempts"]

    def begun(self) -> dict[str, Begun]:
        """Return the attempts of this boot, by path."""
        return {
            path: Begun(known["host"], known["target"], known["log"])
            for path, known in self._data["attempts"].items()
            if known["boot"] == self._boot
        }

    # Hosts.

    def remember(self, host: Host, now: float) -> None:
        """Keep what was learned of a host."""
        until = host.paused_until
        wall = time.time() - now
        self._data["hosts"][host.name] = {
            "held": host.held,
            "paused_until": None if until is None else ("ever" if until == float("inf") else wall + until),
            "reached": sorted([p.egress, p.gateway, p.network] for p in host.reached),
            "learned_vpn": host.learned_vpn,
            "addresses": list(host.addresses),
            "worked_at": wall + host.worked_at if host.worked_at > 0 else None,
            "login": host.login,
            "sentinel": self.has_sentinel(host.name),
            "agent_socket": self.agent_socket(host.name),
            "killing": {"boot": self._boot, "pids": sorted(host.killing)},
            **refusals.kept(host, wall, self._agent_mark()),
        }
        self._write()

    def refused_unseen(self, name: str, failure: Failure, at: float) -> None:
        """Keep that a login of an agent that died was refused; `at` is seconds of the wall clock."""
        known = self._data["hosts"].setdefault(name, {})
        known.update(refusals.one_more(known, failure, at, self._agent_mark()))
        self._write()

    def hosts(self) -> dict[str, dict[str, Any]]:
        """Return what was kept of each host, as `remember` wrote it."""
        return dict(self._data["hosts"])

    def has_sentinel(self, name: str) -> bool:
        """Report whether the far side of a host can run a sentinel, as far as known."""
        return bool(self._data["hosts"].get(name, {}).get("sentinel", True))

    def no_sentinel(self, name: str) -> None:
        """Keep that it cannot; it is never asked again."""
        self._data["hosts"].setdefault(name, {})["sentinel"] = False
        self._write()

    def agent_socket(self, name: str) -> str | None:
        """Return to which socket on the far side a connection of ours last made the host's link point."""
        found = self._data["hosts"].get(name, {}).get("agent_socket")
        return found if isinstance(found, str) else None

    def set_agent_socket(self, name: str, path: str | None) -> None:
        """Keep it."""
        if self.agent_socket(name) != path:
            self._data["hosts"].setdefault(name, {})["agent_socket"] = path
            self._write()

    # The far side: what the server may still hold for a connection of ours.

    def far(self, name: str) -> dict[str, Any]:
        """Return what was kept of a host's far side: "sessions" and "sockets", as `set_far` was given them."""
        kept = self._data["far"].get(name)
        return dict(kept) if isinstance(kept, dict) else {}

    def set_far(self, name: str, kept: dict[str, Any]) -> None:
        """Keep this of a host's far side."""
        if kept != self.far(name):
            self._data["far"][name] = kept
            self._write()

    def _known(self, pid: int, start_ticks: int) -> dict[str, Any] | None:
        known = self._data["masters"].get(str(pid))
        if known is None or known["start"] != start_ticks or known["boot"] != self._boot:
            return None
        return dict(known)

    def _read(self) -> None:
        try:
            data = json.loads(self._path.read_text())
            tables = (data["masters"], data["hosts"], data.get("far", {}))
            if data["version"] != VERSION or not all(isinstance(table, dict) for table in tables):
                raise ValueError("another version or shape")
            self._data.update(data)
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is not readable (%s): put aside as %s.bad", self._path, error, self._path.name)
            with contextlib.suppress(OSError):
                self._path.replace(self._path.with_name(self._path.name + ".bad"))

    def _write(self) -> None:
        temporary = self._path.with_name(self._path.name + ".new")
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "w") as file:  # noqa: PTH123  # a descriptor has no Path
                json.dump(self._data, file, indent=1)
            temporary.replace(self._path)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error)


def places_of(kept: dict[str, Any]) -> frozenset[Place]:
    """Return the places that a kept host was reached from."""
    return frozenset(Place(*words) for words in kept.get("reached", []))


def remembered(name: str, kept: dict[str, Any], now: float) -> Remembered:
    """Return what was kept of a host as the event that tells the core; `now` is monotonic."""
    until = kept.get("paused_until")
    wall_now = time.time()
    paused: float | None = None
    if until == "ever":
        paused = float("inf")
    elif isinstance(until, (int, float)) and until > wall_now:
        paused = until - wall_now
    worked = kept.get("worked_at")
    return Remembered(
        now,
        name,
        held=bool(kept.get("held")),
        paused_for_s=paused,
        reached=places_of(kept),
        learned_vpn=kept.get("learned_vpn"),
        addresses=tuple(kept.get("addresses", ())),
        login_worked_ago_s=wall_now - worked if worked is not None else None,
        login=kept.get("login", "quiet"),
        refused_ago_s=refusals.ago_s(kept, wall_now),
        refusal=refusals.refusal(kept, wall_now),
        killing=_killing(kept),
    )


def _killing(kept: dict[str, Any]) -> frozenset[int]:
    """Return the pids of masters that the earlier agent was about to end, in this boot."""
    known = kept.get("killing") or {}
    return frozenset(known.get("pids", ())) if known.get("boot") == boot_id() else frozenset()
