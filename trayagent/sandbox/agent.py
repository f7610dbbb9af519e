"""The real agent inside the laptop, with every path redirected into the laboratory, and its command line.

Callers control the agent only as a user or a script would: with commands, exit statuses and JSON. The helpers
that read the status make the request of `trayagent status --json` themselves, because each command costs
processor time. Waiting helpers also make the request of `trayagent status --watch`, so that they need not poll.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trayagent.config.runtime_directory import SOCKET
from trayagent.errors import TrayagentError
from trayagent.ipc import blocking_client, messages
from trayagent.ipc.errors import NoAgent
from trayagent.own_module import own_module
from trayagent.sandbox.agent_events import WAIT_S, Events
from trayagent.sandbox.inside_program import Lines
from trayagent.sandbox.lab import Lab
from trayagent.sandbox.node import Node
from trayagent.sandbox.terminal import Terminal

# The folder that holds the package, so that Python finds the agent even if it is not installed.
SOURCE = Path(__file__).parents[2]
START_DEADLINE_S = 30.0
# A process ends within milliseconds. No timer of the agent could hide a failure, so this may be generous.
END_DEADLINE_S = 30.0
# The interval between two checks of an agent that starts or does not answer.
POLL_S = 0.05
# About as long as the command takes to start. A user would not read the status earlier either, and what other
# processes do at the same moment, such as a line in the server's log, is finished by then.
COMMAND_S = 0.06
# Request the status again after this time, because some findings, such as an ssh beside a master, are only made
# when the user views the status.
VIEW_AGAIN_S = 1.0
# A running agent answers within milliseconds. After this time, run the command instead.
ANSWER_WITHIN_S = 5.0


class Agent:
    """`trayagent run --no-tray` in the laptop; a context manager that stops it.

    With `desktop`, the variables of a desktop session (its bus, its display), it has a tray. `name` distinguishes
    the files of a second agent, on another `node`, from those of the first. `log` is the file with its output.
    Raises TrayagentError (sandbox-broken).
    """

    def __init__(
        self,
        lab: Lab,
        *,
        node: Node | None = None,
        desktop: Mapping[str, str] | None = None,
        name: str = "agent",
    ) -> None:
        self._node = node or lab.laptop
        self._child: subprocess.Popen[str] | None = None
        self._readers: list[Events] = []
        files = lab.files
        folder = files.home / name
        folder.mkdir(mode=0o700, exist_ok=True)
        self.config = folder / "config.toml"
        self.runtime_dir = files.runtime / name.replace("agent", "trayagent", 1)
        self.state_dir = folder / "state"
        self.log = folder / "output"
        for place in (self.runtime_dir, self.state_dir):
            place.mkdir(mode=0o700, exist_ok=True)
        self._tray = desktop is not None
        self.env = {
            **(desktop or {}),
            "TRAYAGENT_CONFIG": str(self.config),
            "TRAYAGENT_RUNTIME_DIR": str(self.runtime_dir),
            "TRAYAGENT_STATE_DIR": str(self.state_dir),
            "TRAYAGENT_SSH_CONFIG": str(files.ssh / "config"),
            "TRAYAGENT_SSH": lab.ssh,
            "PYTHONPATH": str(SOURCE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }

    @property
    def pid(self) -> int | None:
        """The agent's process id, or None while the agent is not running."""
        return self._child.pid if self._child and self._child.poll() is None else None

    @property
    def records_file(self) -> Path:
        """The agent's record file of this machine. Raises FileNotFoundError before the agent has written one."""
        found = next(self.state_dir.glob("agent*.json"), None)
        if found is None:
            raise FileNotFoundError(self.state_dir / "agent*.json")
        return found

    def records(self) -> dict[str, Any]:
        """Return the agent's records.

        The record file starts with an object. Each later line holds a change to it, which is applied here.
        """
        kept: dict[str, Any]
        text = self.records_file.read_text()
        kept, end = json.JSONDecoder().raw_decode(text)
        for change in map(json.loads, text[end:].strip().splitlines()):
            table = kept.setdefault(change["table"], {})
            table.pop(change["key"], None)
            if change["value"] is not None:
                table[change["key"]] = change["value"]
        return kept

    @staticmethod
    def command(*args: str) -> list[str]:
        """Return the command line of a trayagent command."""
        return own_module("trayagent", *args)

    def configure(self, config_toml: str) -> None:
        """Replace the configuration atomically."""
        fresh = self.config.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(config_toml)
        fresh.replace(self.config)

    def start(self, config_toml: str | None = None, *, deadline_s: float = START_DEADLINE_S) -> None:
        """Start the agent (with a new configuration, if given) and return when it answers `status`."""
        if config_toml is not None:
            self.configure(config_toml)
        with self.log.open("a") as log:
            words = self.command("run", *([] if self._tray else ["--no-tray"]))
            self._child = self._node.popen(words, env=self.env, stdout=log, stderr=subprocess.STDOUT)
        limit = time.monotonic() + deadline_s
        while not self._answers():
            if self.pid is None or time.monotonic() > limit:
                words_of_it = self.log.read_text()[-2000:]
                raise TrayagentError("the agent did not start", code="sandbox-broken", hint=words_of_it)
            time.sleep(POLL_S)

    def stop(self, *, deadline_s: float = END_DEADLINE_S) -> float:
        """End the agent with SIGTERM; return how many seconds that took. The masters stay."""
        return self._end(signal.SIGTERM, deadline_s)

    def kill9(self) -> None:
        """Kill the agent with SIGKILL, so that it cannot clean up."""
        self._end(signal.SIGKILL, END_DEADLINE_S)

    def _end(self, number: int, deadline_s: float) -> float:
        begin = time.monotonic()
        if self._child:
            self._child.send_signal(number)
            try:
                self._child.wait(deadline_s)
            except subprocess.TimeoutExpired:
                raise TrayagentError("the agent did not stop", code="sandbox-broken") from None
            self._child = None
        return time.monotonic() - begin

    def cli(
        self, *args: str, text: str | None = None, deadline_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a trayagent command in the laptop. The caller must check the exit status."""
        return self._node.run(self.command(*args), env=self.env, text=text, deadline_s=deadline_s)

    def at_terminal(self, *args: str) -> Terminal:
        """Run a trayagent command at a terminal in the laptop."""
        return Terminal(self._node, self.command(*args), self.env)

    def status(self) -> dict[str, Any]:
        """Return the same as `trayagent status --json`, at the time when the command would request it.

        If the agent cannot be reached from here, run the command instead.
        """
        time.sleep(COMMAND_S)
        try:
            return self._view()
        except (TrayagentError, OSError):  # the agent does not run, is silent, or belongs to another user
            done = self.cli("status", "--json")
        if done.returncode != 0:
            what = f"`trayagent status` failed ({done.returncode})"
            raise TrayagentError(what, code="sandbox-broken", hint=done.stderr)
        view: dict[str, Any] = json.loads(done.stdout)
        return view

    def host(self, name: str) -> dict[str, Any] | None:
        """Return the view of a host in `status --json`, or None if the agent does not know the host."""
        return _listed(self.status(), name)

    def _answers(self) -> bool:
        """Report whether the agent answers `status`."""
        try:
            return bool(self._view())
        except NoAgent:
            return False
        except (TrayagentError, OSError):  # it belongs to another user
            return self.cli("status", "--json").returncode == 0

    def _view(self) -> dict[str, Any]:
        """Return the same view as `status --json`, read from the agent's socket. Raises TrayagentError, OSError."""
        with self._connected() as connection, connection.makefile("rb") as answers:
            connection.settimeout(ANSWER_WITHIN_S)
            connection.sendall(self._request("status"))
            return messages.read_reply(answers.readline(), "result")

    def _await_view(
        self, name: str, expected: Callable[[dict[str, Any] | None], bool], deadline_s: float
    ) -> tuple[dict[str, Any] | None, bool]:
        """Wait until a host's view is as expected. Return its last view, and whether that is as expected."""
        limit = time.monotonic() + deadline_s
        while True:
            view = self.host(name)
            if expected(view) or time.monotonic() > limit:
                return view, expected(view)
            self._watch(name, expected, min(limit, time.monotonic() + VIEW_AGAIN_S))

    def _watch(self, name: str, expected: Callable[[dict[str, Any] | None], bool], limit: float) -> None:
        """Return when the agent pushes a view in which the host is as expected, but at `limit` at the latest."""
        try:
            with self._connected() as connection, connection.makefile("rb") as pushed:
                connection.settimeout(ANSWER_WITHIN_S)
                connection.sendall(self._request("watch"))
                messages.read_reply(pushed.readline(), "result")
                while (left_s := limit - time.monotonic()) > 0:
                    connection.settimeout(left_s)
                    if expected(_listed(messages.read_reply(pushed.readline(), "item"), name)):
                        return
        except TimeoutError:
            return
        except (TrayagentError, OSError):
            time.sleep(POLL_S)

    def _connected(self) -> socket.socket:
        """Return a connection to the agent's socket. Raises TrayagentError."""
        if self.pid is None:
            raise NoAgent
        # In the agent's mount namespace, this path may be another file than in ours.
        path = f"/proc/{self.pid}/root{self.env['TRAYAGENT_RUNTIME_DIR']}/{SOCKET}"
        return blocking_client.connected(path)

    def _request(self, op: str) -> bytes:
        """Return the line that the command would send."""
        passed = {**self._node.env, **self.env}
        env = {name: passed[name] for name in messages.PASSED_ENV if name in passed}
        return messages.request(op, {"hosts": []}, env)

    def listed_host(self, name: str) -> dict[str, Any]:
        """Return one host of `status --json`. Raises TrayagentError (sandbox-broken) if the host is not listed."""
        found = self.host(name)
        if found is None:
            raise TrayagentError(f"status does not list {name}", code="sandbox-broken")
        return found

    def wait_state(self, host: str, state: str, deadline_s: float = WAIT_S) -> dict[str, Any]:
        """Wait until the host is in that state, and return its view.

        If that fails, the error contains the last view.
        """
        view, reached = self._await_view(
            host, lambda view: view is not None and view["state"] == state, deadline_s
        )
        if view is None or not reached:
            what = f"{host} was not {state} within {deadline_s:g} s"
            raise TrayagentError(what, code="sandbox-broken", hint=json.dumps(view))
        return view

    def wait_forwards(
        self, host: str, states: dict[str, str], deadline_s: float = WAIT_S
    ) -> list[dict[str, Any]]:
        """Wait until the host's forwards of these kinds have these states. Return all forwards of the host."""
        view, reached = self._await_view(
            host, lambda view: _have_states((view or {}).get("forwards", []), states), deadline_s
        )
        forwards: list[dict[str, Any]] = (view or {}).get("forwards", [])
        if not reached:
            what = f"the forwards of {host} were not {states} within {deadline_s:g} s"
            raise TrayagentError(what, code="sandbox-broken", hint=json.dumps(forwards))
        return forwards

    def wait_end(self, deadline_s: float = END_DEADLINE_S) -> int:
        """Wait until the agent has ended on its own, and return its exit status."""
        if self._child is None:
            raise TrayagentError("the agent was not started", code="sandbox-usage")
        status = self._child.wait(deadline_s)
        self._child = None
        return status

    def events(self) -> Events:
        """Return a reader of the events from now on. The reader ends with this Agent."""
        pipe = subprocess.PIPE
        child = self._node.popen(self.command("events", "--json"), env=self.env, stdout=pipe, stderr=pipe)
        reader = Events(child)
        self._readers.append(reader)
        limit = time.monotonic() + START_DEADLINE_S
        while not _has_socket(child.pid):  # the reader is connected, so it misses no event from here on
            if child.poll() is not None or time.monotonic() > limit:
                raise Lines("trayagent events", child).ended()
            time.sleep(0.005)
        return reader

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in self._readers:
            reader.end()
        if self.pid:
            self.stop()


def _listed(view: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((host for host in view["hosts"] if host["name"] == name), None)


def _have_states(forwards: list[dict[str, Any]], states: dict[str, str]) -> bool:
    return all({f["state"] for f in forwards if f["kind"] == kind} == {s} for kind, s in states.items())


def _has_socket(pid: int) -> bool:
    """Report whether a process has a socket open."""
    try:
        return any(str(fd.readlink()).startswith("socket:") for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # the process closed files meanwhile, or has ended
        return False
