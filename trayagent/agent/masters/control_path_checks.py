"""Checks that a new master can listen on its control path, before that master starts."""

from __future__ import annotations

import shlex
from pathlib import Path

from trayagent.agent.masters.discovery import Discovery, Holder
from trayagent.agent.masters.obstacle_gone import Obstacles
from trayagent.agent.parts import Parts
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.problems import Problem
from trayagent.core.problem_texts import NO_ROOM, unwritable
from trayagent.ssh import new_control_path as names

_OWN_FOLDER = "Choose a ControlPath in a directory of your own, as in ~/.ssh/cm-%C"


class FailedError(Exception):
    """An attempt failed. Has the failure, and the host key if the server proved one before the failure."""

    def __init__(self, failure: Failure, host_key: str | None = None) -> None:
        super().__init__(failure.problem.title)
        self.failure = failure
        self.host_key = host_key


class ControlPaths:
    """Detects what prevents a new master from listening on a control path."""

    def __init__(self, parts: Parts, discovery: Discovery, obstacles: Obstacles) -> None:
        self._file_paths = parts.file_paths
        self._discovery = discovery
        self._obstacles = obstacles

    async def check(self, path: str, host: Host) -> None:
        """Check that a new master could listen on this path. Raises FailedError."""
        if not names.fits(path):
            hint = f"ControlPath may have {names.LONGEST} bytes; ~/.ssh/cm-%C is short enough"
            raise FailedError(
                Failure(
                    Problem("control-path-too-long", f"ControlPath {path} is too long", hint), "control-path"
                )
            )
        folder = Path(path).parent
        if folder == self._file_paths.runtime_dir / "cm":
            try:
                folder.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise FailedError(unwritable(str(folder.parent), error)) from error
        if not folder.is_dir():
            hint = f"Create it: mkdir -p -m 700 {shlex.quote(str(folder))}"
            problem = Problem("config-error", f"The directory of ControlPath, {folder}, does not exist", hint)
            raise FailedError(Failure(problem, "control-path"))
        holder = await self._discovery.holder(path, host.master.pid if host.master is not None else None)
        if holder is not None and not holder.adoptable:
            self._obstacles.held(host.name, holder.pid)
            raise FailedError(taken(path, holder))
        if holder is not None and host.master is None:
            other = (
                await self._discovery.other_owner(host, holder.pid, path) if holder.pid is not None else None
            )
            if other is not None:
                self._obstacles.held(host.name, holder.pid)
                raise FailedError(shared(path, host.name, other))
            await self._discovery.scan()  # the scan finds the living master and ends the attempt


def taken(path: str, by: Holder) -> Failure:
    """Return the failure for a control path that something else occupies."""
    if by.pid is None:
        title, hint = f"{path} is taken by {by.words}", "Choose another ControlPath, as in ~/.ssh/cm-%C"
    else:
        title = f"Another program listens on {path}"
        hint = f"End that program or choose another ControlPath; it is: {by.words}"
    return Failure(Problem("control-path-taken", title, hint), "control-path")


def shared(path: str, name: str, other: str) -> Failure:
    """Return the failure for a control path on which the master of another host listens."""
    title = f"{name} shares its control path with {other}: {path}"
    # %C alone is not enough: before OpenSSH 9.6, it is the same for two routes to one account.
    hint = "Only one of them can be connected. Give each host a ControlPath of its own, as in ~/.ssh/cm-%C-%n"
    return Failure(Problem("control-path-taken", title, hint), "control-path")


def fresh_for(path: str) -> str:
    """Return the path on which a new master listens until it takes over this control path. Raises FailedError."""
    try:
        fresh = names.fresh_for(path)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise FailedError(unwritable(str(Path(path).parent), error)) from error
        title = f"{Path(path).parent}: {error.strerror}"
        raise FailedError(Failure(Problem("config-error", title, _OWN_FOLDER), "control-path")) from error
    if not names.fits(fresh):
        names.remove_fresh(fresh)
        title = f"ControlPath {path} is too long for a directory in which others may write"
        raise FailedError(Failure(Problem("control-path-too-long", title, _OWN_FOLDER), "control-path"))
    return fresh
