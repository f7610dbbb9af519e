"""A unit for systemd's user manager; systemd.service(5), systemd.unit(5).

The agent writes the file, and the link that `systemctl --user enable` would make. This needs no bus. Even if the
manager cannot be reached now, it starts the agent at the next login.

The target is `default.target`, not `graphical-session.target`: a headless machine has no graphical session, and many
desktops never reach that target. The tray only needs the session bus, which exists from the start. It notices a
panel that starts later.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from trayagent.desktop.autostart import write_files
from trayagent.desktop.scopes import linux_unit
from trayagent.desktop.scopes.linux_scopes import Scopes, manager_bus_address
from trayagent.errors import TrayagentError

UNIT = "trayagent.service"
TARGET = "default.target"
PACKAGED = Path("/usr/lib/systemd/user") / UNIT
"""The unit of the distribution's package. `systemctl --user enable` links it under the same name."""
BOOTED = Path("/run/systemd/system")
"""It exists if systemd is process 1; sd_booted(3)."""
POLKIT = Path("/usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service")
_TRIES = 3
ANSWER_WITHIN_S = 20.0
"""Seconds. A manager under load reloads in a second or two. A manager that hangs must not block the agent forever."""

# KillMode: systemd ends only the agent. The masters run on, and the next agent adopts them. Exit status 2 means an
# invalid configuration: another start would not help. Exit status 4 means that the user already runs an agent, which is
# no failure. Restart: at most five times a minute. After that the agent stays down, and `systemctl --user status` says
# why.
TEXT = """\
# {mark}
[Unit]
Description=trayagent: ssh connections that survive changes of network
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=notify
ExecStart={command}
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=2
SuccessExitStatus=4
KillMode=process

[Install]
WantedBy={target}
"""

_NOT_IN_A_PATH = frozenset("\"'\\")
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "%": "%%"}


class Systemd:
    """The unit of one user; `runtime` is the user's XDG_RUNTIME_DIR. `in_login`: a login created that directory."""

    name = "systemd"

    def __init__(self, config_home: Path, runtime: Path, linger: Path, *, in_login: bool = True) -> None:
        units = config_home / "systemd" / "user"
        self.path = units / UNIT
        self._link = units / f"{TARGET}.wants" / UNIT
        self._runtime, self._linger, self._in_login = runtime, linger, in_login

    def works(self) -> bool:
        """Report whether this user's manager is running, or will run at the next login.

        `su` and `sudo` start no manager. But if systemd is process 1, the next login starts one.
        """
        return self.running() or (not self._in_login and BOOTED.is_dir())

    def running(self) -> bool:
        """Report whether this user's manager is running. If so, its socket exists."""
        try:
            return (self._runtime / "systemd" / "private").is_socket()
        except OSError:
            return False

    def enabled(self) -> bool:
        """Report whether the manager starts the unit at login."""
        ours = write_files.is_ours(self.path) and self._link.exists()
        return ours or (self._leads_to(PACKAGED) and PACKAGED.exists())

    def file(self) -> Path:
        """Return the unit that the manager starts: ours, or the package's."""
        return self.path if write_files.is_ours(self.path) else PACKAGED

    def enable(self, command: Sequence[str]) -> bool:
        """Turn the start at login on, and return whether that changed anything. Raises TrayagentError."""
        written = write_files.write(self.path, unit(command).encode())
        linked = self._ensure_link()
        if written or linked:
            self._reload()
        return written or linked

    def renewed(self) -> bytes | None:
        """Return the unit as this version writes it, with the command in the file. None if we wrote no file."""
        command = write_files.value(self.path, "ExecStart")
        return (
            TEXT.format(mark=write_files.MARK, command=command, target=TARGET).encode() if command else None
        )

    def renew(self) -> bool:
        """Write the unit as this version writes it, and return whether it changed. Raises TrayagentError."""
        written = write_files.rewrite(self.path, self.renewed())
        if written:
            self._systemctl("daemon-reload")
        return written

    def disable(self) -> bool:
        """Turn the start at login off, and return whether that changed anything. A running agent continues."""
        removed = write_files.remove(self.path)
        if not os.path.lexists(self.path) and (self._is_linked() or self._leads_to(PACKAGED)):
            write_files.unlink(self._link)
            removed = True
        if removed:
            self._reload()
        return removed

    def spare_masters(self) -> tuple[int, ...]:
        """Move the masters in the control group of the agent's unit into a scope.

        Return the pids that could not be moved.

        An older version of the agent started masters there. Once the unit's file is gone, systemd would end them
        together with the agent.
        """
        for _ in range(_TRIES):  # retry: the move fails if any of the processes has just ended
            output = self._systemctl("show", "--property=MainPID", "--value", UNIT)
            if output is None or not output.strip().isdecimal():
                return ()
            left = linux_unit.in_unit(int(output), UNIT)
            if not left or asyncio.run(self._move_out(left)):
                return ()
        return tuple(left)

    async def _move_out(self, pids: Sequence[int]) -> bool:
        scopes = Scopes(lambda: manager_bus_address({"XDG_RUNTIME_DIR": str(self._runtime)}))
        try:
            return await scopes.move_out(pids)
        finally:
            await scopes.close()

    def start_command(self) -> str | None:
        """Return the command that starts the agent now, or None if no manager is running."""
        return f"systemctl --user start {UNIT.removesuffix('.service')}" if self.running() else None

    def was_started(self) -> bool:
        """Report whether the manager started the unit since the user's first login. True if unknown."""
        if not self.running():
            return False
        started = self._systemctl("show", "--property=ExecMainStartTimestampMonotonic", "--value", UNIT)
        return started is None or started.strip() != "0"

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know."""
        linger = linger_command(self._linger.name)
        if not self.running():
            return (f"It starts with your next login. To start it now, and at boot: {linger}",)
        note = f"The agent ends with your last session. To keep it running: {linger}"
        if self._linger.exists():
            note = "It starts at boot and survives the session: lingering is on."
        return (f"Start it now: {self.start_command()}", note)

    def _is_linked(self) -> bool:
        return self._leads_to(self.path)

    def _leads_to(self, path: Path) -> bool:
        return self._link.is_symlink() and self._link.readlink() == path

    def _ensure_link(self) -> bool:
        if self._is_linked():
            return False
        try:
            self._link.parent.mkdir(parents=True, exist_ok=True)
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(self.path)
        except OSError as error:
            raise TrayagentError(
                f"{self._link} cannot be created: {error.strerror}.", code="unwritable"
            ) from error
        return True

    def _reload(self) -> None:
        """Let the running manager read the unit files again. If that fails, the next manager reads them anyway."""
        if self._systemctl("daemon-reload") is None:
            return
        if self.path.exists() and self._systemctl("is-enabled", UNIT) is None:
            hint = "Perhaps its XDG_CONFIG_HOME is another one: systemctl --user show-environment"
            raise TrayagentError(
                f"systemd's user manager does not see {self.path}.", code="unit-unseen", hint=hint
            )

    def _systemctl(self, *words: str) -> str | None:
        """Return the output of systemctl, or None if systemctl fails or does not answer."""
        env = os.environ | {"XDG_RUNTIME_DIR": str(self._runtime)}
        env.pop(
            "DBUS_SESSION_BUS_ADDRESS", None
        )  # use the manager's own socket, because the session may use another bus
        try:
            done = subprocess.run(
                ["systemctl", "--user", *words],
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=ANSWER_WITHIN_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout


def linger_command(user: str) -> str:
    """Return the command that keeps the user's manager running. Without polkit, only root may do that; loginctl(1).

    It names the user, because after `su` the session belongs to another one.
    """
    command = f"loginctl enable-linger {shlex.quote(user)}"
    return command if os.geteuid() == 0 or POLKIT.exists() else f"sudo {command}"


def unit(command: Sequence[str]) -> str:
    """Return the unit that runs this command."""
    return TEXT.format(mark=write_files.MARK, command=command_line(command), target=TARGET)


def command_line(command: Sequence[str]) -> str:
    """Return the words as the value of ExecStart: systemd.service(5), *Command lines*.

    A $ starts a variable in each word but the first. systemd rejects quotes and backslashes in the first word, even
    escaped ones ("bad unit file setting"). So env(1) starts a program that has them in its path.
    """
    if set(command[0]) & _NOT_IN_A_PATH:
        command = ("/usr/bin/env", *command)
    first, *rest = (_quoted(word) for word in command)
    return " ".join([first, *(word.replace("$", "$$") for word in rest)])


def _quoted(word: str) -> str:
    if word and all(sign.isalnum() or sign in "/._-+=:@,$" for sign in word):
        return word
    return '"{}"'.format("".join(_ESCAPED.get(sign, sign) for sign in word))


def user_manager(config_home: Path, env: Mapping[str, str], user: str) -> Systemd:
    """Return the unit of this user.

    Without XDG_RUNTIME_DIR, or if it belongs to another user, as after `su`, it uses logind's directory.
    """
    given = env.get("XDG_RUNTIME_DIR", "")
    in_login = bool(given) and _is_own(given)
    runtime = Path(given if in_login else f"/run/user/{os.getuid()}")
    return Systemd(config_home, runtime, Path("/var/lib/systemd/linger") / user, in_login=in_login)


def _is_own(folder: str) -> bool:
    try:
        return Path(folder).stat().st_uid == os.getuid()
    except OSError:
        return False
