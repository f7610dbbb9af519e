from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import FakeAgent, forward, host
from tests.cli.test_cli_status import on_a_terminal
from trayagent import __version__
from trayagent.cli import main
from trayagent.desktop.autostart import linux_systemd
from trayagent.history.record_events import History
from trayagent.ipc.one_agent_lock import Lock

if TYPE_CHECKING:
    Run = Callable[..., subprocess.CompletedProcess[str]]
    Agent = Any  # the type is conftest's FakeAgent, but a conftest cannot be imported

WITHIN_S = 20.0


@pytest.mark.parametrize(
    ("words", "op", "args", "said"),
    [
        (["disconnect", "web", "db"], "disconnect", {"hosts": ["web", "db"]}, "Disconnected: web, db\n"),
        (["pause"], "pause", {"hosts": [], "for_s": None}, "Paused: everything\n"),
        (["resume", "web"], "resume", {"hosts": ["web"]}, "Resumed: web\n"),
        (["stop"], "stop", {"masters": False}, "The agent stops; the masters stay.\n"),
    ],
)
def test_a_command_asks_the_agent_and_says_what_was_done(
    run: Run, agent: Agent, words: list[str], op: str, args: dict[str, Any], said: str
) -> None:
    """The command sends one operation with its arguments, prints one line, and ends with status 0."""
    done = run(*words)
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
    assert agent.asked == [(op, args)]


def test_a_pause_with_a_duration_says_when_it_ends(run: Run, agent: Agent) -> None:
    """`pause --for` prints the time at which the pause ends, and `status` shows it for a paused host."""
    begun = datetime.now().astimezone()
    done = run("pause", "web", "--for", "30m")
    assert agent.asked == [("pause", {"hosts": ["web"], "for_s": 1800})]
    found = re.fullmatch(r"Paused until (?:[A-Z][a-z]{2} )?(\d\d:\d\d):\d\d: web\n", done.stdout)
    assert found is not None, done
    assert found[1] in {f"{begun + timedelta(minutes=30 + late):%H:%M}" for late in (0, 1)}
    until = (datetime.now(UTC) + timedelta(minutes=30)).isoformat()
    agent.view["hosts"][0] |= {"state": "paused", "paused_until": until}
    assert re.search(r"web01 +paused +until \S* ?\d\d:\d\d:\d\d", run("status").stdout)


@pytest.mark.parametrize("words", [["reconnect"], ["disconnect", "web"], ["pause"], ["resume"], ["stop"]])
def test_without_an_agent_commands_end_with_3(run: Run, words: list[str]) -> None:
    """Without an agent, the exit status is 3, and the error explains how to start one."""
    done = run(*words)
    assert (done.returncode, done.stdout) == (3, "")
    assert "Start it: trayagent run" in done.stderr


def test_without_an_agent_the_error_names_the_unit_that_starts_it(run: Run, tmp_path: Path) -> None:
    """If systemd's user manager starts the agent at login, the next step is to start that unit."""
    units, runtime = tmp_path / "systemd" / "user", tmp_path / "runtime"
    (units / "default.target.wants").mkdir(parents=True)
    unit = units / "trayagent.service"
    unit.write_text(linux_systemd.unit(["/bin/trayagent", "run"]))
    (units / "default.target.wants" / unit.name).symlink_to(unit)
    (runtime / "systemd").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as manager:
        manager.bind(str(runtime / "systemd" / "private"))
        env = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime)}
        done = run("status", **env)
        assert (done.returncode, done.stdout) == (3, "")
        assert "Start it: systemctl --user start trayagent\n" in done.stderr
        assert (
            "So startet er: systemctl --user start trayagent\n"
            in run("status", LC_ALL="de_DE.UTF-8", **env).stderr
        )


def test_a_second_agent_ends_with_4(run: Run, tmp_path: Path) -> None:
    """The second agent ends with 4. It notifies systemd that it is ready, so that the unit does not fail."""
    (tmp_path / "run").mkdir(mode=0o700)
    lock = Lock(tmp_path / "run" / "agent.lock")
    lock.acquire()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        done = run("run", NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert done.returncode == 4
        assert f"An agent is running already (pid {os.getpid()})." in done.stderr
        words = manager.recv(256, socket.MSG_DONTWAIT).decode().splitlines()
    assert words == ["READY=1", f"STATUS=An agent is running already (pid {os.getpid()})."]
    lock.release()


@pytest.mark.parametrize("command", ["reconnect", "disconnect", "pause", "resume", "why"])
def test_an_unknown_host_ends_with_2(run: Run, agent: Agent, command: str) -> None:
    """For an unknown host, the exit status is 2, and the error has the agent's text."""
    done = run(command, "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no host nowhere." in done.stderr
    assert agent.asked


def test_reconnect_says_of_each_host_how_it_went(run: Run, agent: Agent) -> None:
    """Successes are printed to stdout with their time, failures to stderr with their hint.

    One failure gives status 1.
    """
    refused = {"code": "refused", "title": "db refuses the connection", "hint": "Is sshd running?"}
    agent.outcomes = [
        {"name": "web", "state": "connected", "took_ms": 412.4, "problem": None},
        {"name": "db", "state": "waiting", "took_ms": None, "problem": refused},
    ]
    done = run("reconnect")
    assert done.returncode == 1
    assert done.stdout == "web: connected in 412 ms\n"
    assert done.stderr == "trayagent: db: db refuses the connection\n  Is sshd running?\n"
    agent.outcomes = [
        {"name": "db", "state": "connected", "problem": refused, "replaced": False},
        {"name": "web", "state": "connected", "problem": None, "replaced": True},
        {"name": "nas", "state": "offline", "problem": None, "replaced": False},
    ]
    done = run("reconnect", "db", "web", "nas")
    assert (done.returncode, done.stdout) == (1, "web: connected\n")
    assert done.stderr == (
        "trayagent: db: db refuses the connection (the old connection is kept)\n  Is sshd running?\n"
        "trayagent: nas: offline\n"
    )
    agent.outcomes = []
    done = run("reconnect")
    assert (done.returncode, done.stdout) == (0, "Nothing to reconnect.\n")


def test_reconnect_says_what_it_ended_and_what_it_left(run: Run, agent: Agent) -> None:
    """The output has the number of sessions that ended or continue. With --if-down, a connected host is a success."""
    done = {"state": "connected", "problem": None, "took_ms": 400.0, "replaced": True, "kept": False}
    left = {"state": "connected", "problem": None, "replaced": False, "kept": True}
    agent.outcomes = [
        {"name": "web", **done, "sessions_ended": 2},
        {"name": "db", **done, "sessions_ended": 1},
        {"name": "nas", **done, "sessions_ended": 0},
        {"name": "mac", **done, "sessions_ended": None},
        {"name": "pi", **left},
        {"name": "vm", **done, "sessions_kept": 1, "connections_kept": 2},
        {"name": "ci", **done, "sessions_kept": 0, "connections_kept": 1},
    ]
    said = run("reconnect", "--if-down")
    assert said.returncode == 0
    assert said.stdout.splitlines() == [
        "web: connected in 400 ms; 2 sessions through the old connection ended",
        "db: connected in 400 ms; 1 session through the old connection ended",
        "nas: connected in 400 ms",
        "mac: connected in 400 ms",
        "pi: connected, left as it is",
        "vm: connected in 400 ms; 1 session and 2 forwarded connections continue through the old connection",
        "ci: connected in 400 ms; 1 forwarded connection continues through the old connection",
    ]
    assert agent.asked[-1] == ("reconnect", {"hosts": [], "if_down": True, "now": False})
    run("reconnect", "--now")
    assert agent.asked[-1] == ("reconnect", {"hosts": [], "if_down": False, "now": True})


def test_reconnect_says_how_to_end_a_pause(run: Run, agent: Agent) -> None:
    """If a pause is still in effect after a reconnect, the output has the command that ends it."""
    agent.outcomes = [
        {
            "name": "web",
            "state": "connected",
            "problem": None,
            "replaced": True,
            "resume": "trayagent resume",
        },
        {
            "name": "nas",
            "state": "paused",
            "problem": None,
            "replaced": False,
            "resume": "trayagent resume nas",
        },
    ]
    done = run("reconnect", "web", "nas")
    assert done.returncode == 1
    assert done.stdout == "web: connected; still paused. To end the pause: trayagent resume\n"
    assert done.stderr == "trayagent: nas: paused\n  Then: trayagent resume nas\n"


def test_why_prints_each_decision_with_its_evidence(run: Run, agent: Agent) -> None:
    """`why` prints each decision with its time, a sentence and its evidence.

    A decision without a sentence is printed raw.
    """
    agent.decisions = [
        {
            "at": "2026-01-01T08:00:00Z",
            "row": 5,
            "verdict": "probe",
            "evidence": "rtt_ms=41",
            "pairs": [["rtt_ms", "41"]],
        },
        {
            "at": "2026-01-01T08:00:01Z",
            "row": 6,
            "verdict": "keep it",
            "evidence": "probe=answered",
            "pairs": [],
        },
        {"at": "2026-01-01T08:00:02Z", "row": 5, "verdict": "probe", "evidence": "from=older"},
    ]
    asked = "its network path changed: the agent probes the old connection"
    assert run("why", "web").stdout.splitlines() == [
        f"2026-01-01 08:00:00  {asked}  probe  rtt_ms=41",
        "2026-01-01 08:00:01  keep it  probe=answered",
        "2026-01-01 08:00:02  probe  from=older",
    ]
    agent.decisions = []
    assert run("why", "web").stdout == "The agent has not decided anything about web yet.\n"


@pytest.mark.parametrize("columns", [40, 80])
def test_why_and_history_fit_the_terminal(
    agent: Agent, cli_env: dict[str, str], tmp_path: Path, columns: int
) -> None:
    """On a terminal, long lines continue beneath, indented. No word is lost."""
    reason = "the server closed the connection during the login, " * 3 + "at last"
    ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    kept = History(tmp_path / "state" / "history.sqlite")
    kept.record({"at": ago, "event": "connect-failed", "host": "web", "reason": reason})
    kept.close(WITHIN_S)
    agent.decisions = [{"at": ago, "row": 5, "verdict": "probe", "evidence": reason, "pairs": []}]
    for words in (["why", "web"], ["history"]):
        status, shown = on_a_terminal(words, {**cli_env, "NO_COLOR": "1"}, columns)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
        assert status == 0
        assert max(map(len, lines)) <= columns
        assert reason in " ".join(" ".join(lines).split())
        assert lines[1].startswith(" ")


def test_events_are_printed_as_they_happen_until_interrupted(agent: Agent, cli_env: dict[str, str]) -> None:
    """`events` prints a short line for users, and the JSON object for scripts. Ctrl-C ends both without a message."""
    at = "2026-01-01T08:00:00Z"
    happened = {
        "at": at,
        "event": "connected",
        "host": "web",
        "reason": "",
        "took_ms": 412.4,
        "forward": {"kind": "local"},
    }
    agent.streams["events"] = [
        happened,
        {"at": at, "event": "resumed", "host": None, "reason": "wake", "pairs": [["a", "b"]]},
    ]
    people = [
        "2026-01-01 08:00:00  web           connected           took 412 ms  kind=local",
        "2026-01-01 08:00:00  -             resumed             wake",
    ]
    for words, expected in (([], people), (["--json"], [json.dumps(e) for e in agent.streams["events"]])):
        command = [sys.executable, "-m", "trayagent", "events", *words]
        with subprocess.Popen(
            command, env=cli_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert [process.stdout.readline().rstrip("\n") for _ in expected] == expected
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=WITHIN_S)
        assert (process.returncode, said) == (130, "")


def test_history_needs_no_agent(run: Run, tmp_path: Path) -> None:
    """Outages are listed with durations and recoveries, by host and time, for users and as JSON."""

    def at(hours: float) -> str:
        return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()

    kept = History(tmp_path / "state" / "history.sqlite")
    kept.record({"at": at(900), "event": "disconnected", "host": "old", "reason": "long ago"})
    kept.record({"at": at(899), "event": "connected", "host": "old", "reason": ""})
    kept.record({"at": at(2), "event": "master-stale", "host": "web", "reason": "address gone"})
    kept.record({"at": at(1), "event": "connected", "host": "web", "reason": "", "took_ms": 412.0})
    kept.record({"at": at(0.5), "event": "disconnected", "host": "db", "reason": "reset"})
    kept.record({"at": at(0.4), "event": "paused", "host": None, "reason": "user=pause"})
    kept.record({"at": at(0.3), "event": "resumed-by-user", "host": None, "reason": "user=resume"})
    kept.close(WITHIN_S)

    done = run("history")
    lines = [line.split("  ") for line in done.stdout.splitlines()]
    lines_of_db = done.stdout.splitlines()[1].split()
    assert done.returncode == 0
    assert [[cell.strip() for cell in line if cell][1:] for line in lines[:2]] == [
        ["web", "1 h", "back in 412 ms", "address gone"],
        ["db", "30 min, still", "reset"],
    ]
    assert done.stdout.endswith(
        "\n\n2 outages in the last 7 d. The median recovery took 412 ms, the slowest 412 ms.\n"
    )
    assert [o["host"] for o in json.loads(run("history", "--json", "--since", "90d").stdout)["outages"]] == [
        "old",
        "web",
        "db",
    ]
    (outage,) = json.loads(run("history", "web", "--json").stdout)["outages"]
    assert outage["took_ms"] == 412.0
    assert outage["duration_ms"] == pytest.approx(3_600_000, rel=0.01)
    assert run("history", "db").stdout.splitlines()[0].split() == lines_of_db


@pytest.mark.parametrize("form", [[], ["--json"], ["--html", "page.html"]])
def test_an_unknown_host_has_no_history(run: Run, tmp_path: Path, form: list[str]) -> None:
    """For a host that neither the configuration nor the history has, `history` fails and suggests a similar name."""
    kept = History(tmp_path / "state" / "history.sqlite")
    kept.record({"at": "2020-01-01T08:00:00Z", "event": "connected", "host": "seen01", "reason": ""})
    kept.close(WITHIN_S)
    (tmp_path / "config.toml").write_text("[hosts.web01]\n")
    known = "No host '{}' is known to the history or the configuration.".format
    for name, hint in (
        ("web1", "Did you mean web01?"),
        ("sen01", "Did you mean seen01?"),
        ("x", "`trayagent status`"),
    ):
        done = run("history", name, *form)
        assert (done.returncode, done.stdout) == (1, "")
        assert known(name) in done.stderr
        assert hint in done.stderr
    if not form:
        for name in ("web01", "seen01"):
            done = run("history", name)
            assert (done.returncode, done.stdout) == (0, "No outage in the last 7 d.\n")


def test_a_history_that_cannot_be_read_is_an_error(run: Run, tmp_path: Path) -> None:
    """If the history cannot be read, the command ends with status 1 and explains what to do."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "history.sqlite").write_bytes(b"no database " * 100)
    done = run("history")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Move the file away" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["sing"],
        ["status", "--prometheus", "--json"],
        ["disconnect"],
        ["why"],
        ["why", "a", "b"],
        ["stop", "now"],
    ]
    + [["pause", "--for", text] for text in ("", "0s", "soon", "10", "-1h", "99999d", "9" * 5000 + "d")]
    + [["history", "--since", "yesterday"], ["status", "--js"]],
)
def test_wrong_usage_ends_with_2_before_anybody_is_asked(run: Run, words: list[str]) -> None:
    """Wrong usage ends with status 2, prints the usage on stderr, and contacts no agent."""
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: trayagent")


@pytest.mark.parametrize("command", main.MODULES)
def test_each_command_has_a_help(run: Run, command: str) -> None:
    """Each command is listed, and has a `--help` that needs no agent."""
    done = run(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: trayagent {command} [-h]")
    assert f"\n    {command} " in run("--help").stdout


def test_the_version_is_printed(run: Run) -> None:
    """The command prints the version and nothing else."""
    assert run("--version").stdout == f"trayagent {__version__}\n"


def test_run_hands_the_paths_and_the_configuration_to_the_agent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """--config may precede or follow the command, and overrides the environment.

    `run` exits with the agent's status.
    """
    import types

    called: list[tuple[Any, ...]] = []

    def run_agent(*args: Any) -> int:
        called.append(args)
        return 1

    module = types.ModuleType("trayagent.agent.main")
    module.run = run_agent  # type: ignore[attr-defined]  # a fake module
    monkeypatch.setitem(sys.modules, "trayagent.agent.main", module)
    monkeypatch.setenv("TRAYAGENT_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TRAYAGENT_CONFIG", "/elsewhere.toml")
    for words in (["--config", "/a.toml", "run"], ["run", "--config", "/a.toml", "--no-tray"], ["run", "-v"]):
        assert main.entry(words) == 1
    assert [(str(path), tray, verbose) for _, path, tray, verbose in called] == [
        ("/a.toml", True, False),
        ("/a.toml", False, False),
        ("/elsewhere.toml", True, True),
    ]
    assert called[0][0].ipc_socket == tmp_path / "agent.sock"


def test_the_history_is_written_as_a_page(run: Run, tmp_path: Path) -> None:
    """The page is written completely or not at all. If the path is not writable, the error names it."""
    (tmp_path / "state").mkdir()
    now = datetime.now(UTC)
    with_history = History(tmp_path / "state" / "history.sqlite")
    for event, ago_s in (("disconnected", 60), ("connected", 30)):
        at = (now - timedelta(seconds=ago_s)).isoformat().replace("+00:00", "Z")
        with_history.record({"at": at, "event": event, "host": "web", "reason": "", "took_ms": 400})
    with_history.flush(WITHIN_S)
    with_history.close()
    page = tmp_path / "page.html"
    page.write_text("old")
    done = run("history", "--html", str(page))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"Written: {page}, with 1 outage.\n", "")
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert [p.name for p in tmp_path.iterdir() if "page" in p.name] == ["page.html"]
    done = run("history", "--html", str(tmp_path / "missing" / "page.html"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "page.html cannot be written: No such file or directory" in done.stderr
    assert run("history", "--html", str(page), "--json").returncode == 2


def test_keep_refuses_a_host_that_nothing_knows(run: Run, tmp_path: Path) -> None:
    """A host must be in ssh_config or in the configuration, so a typing error writes nothing."""
    ssh_config, config = tmp_path / "ssh_config", tmp_path / "config.toml"
    ssh_config.write_text("Host web01 *.example\n    Port 2222\nHost *\n    ControlPath ~/.ssh/cm-%C\n")
    config.write_text("[hosts.box]\n")
    config.chmod(0o600)

    def keep(name: str) -> subprocess.CompletedProcess[str]:
        return run("keep", name, "-L", "9000:localhost:80", TRAYAGENT_SSH_CONFIG=str(ssh_config))

    done = keep("web02")
    assert (done.returncode, done.stdout) == (1, "")
    title = "Neither ssh_config nor the configuration has a host 'web02'."
    assert done.stderr == f"trayagent: {title}\n  Did you mean web01?\n"
    assert "list the host in the configuration first: [hosts.nosuch]" in keep("nosuch").stderr
    assert config.read_text() == "[hosts.box]\n"
    assert [keep(name).returncode for name in ("web01", "db.example", "box")] == [0, 0, 0]


def test_keep_writes_to_the_listed_host_whose_connection_the_name_shares(
    run: Run, agent: FakeAgent, tmp_path: Path
) -> None:
    """A forward that was given by another name of a listed host is written to the table of the listed host, once."""
    config = tmp_path / "config.toml"
    config.write_text("[hosts.box]\n")
    config.chmod(0o600)
    given = forward("local", "7001:box:80", "open") | {"by_hand": True}
    agent.view["hosts"] = [host("box", "connected") | {"listed": True, "forwards": [given]}]
    assert run("keep", "alias").stdout.startswith("box: added -L 7001:box:80 in ")
    assert run("keep", "box").stdout.startswith("box: already there: -L 7001:box:80 in ")
    assert "alias" not in config.read_text()


def test_keep_names_the_forwards_whose_target_the_agent_cannot_read(run: Run, agent: FakeAgent) -> None:
    """`keep HOST` writes what the agent learned. It says how to keep the rest, also if the agent learned nothing."""
    unknown = {"unknown_listens": ["127.0.0.1:7003"], "ended_listens": ["[::1]:7004"]}
    agent.view["hosts"] = [host("cluster", "connected", **unknown)]
    done = run("keep", "cluster")
    assert (done.returncode, done.stdout) == (1, "")
    title = "The agent cannot read the targets of your forwards of cluster: 127.0.0.1:7003, [::1]:7004"
    hint = "With its target: trayagent keep cluster -L 7003:TARGET:PORT, or -D 7003 for a SOCKS proxy"
    assert done.stderr == f"trayagent: {title}\n  {hint}\n"
    agent.view["hosts"][0]["forwards"] = [forward("local", "7001:box:80", "open") | {"by_hand": True}]
    done = run("keep", "cluster")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("cluster: added -L 7001:box:80 in ")
    assert [line.partition(" ")[2].split(" by hand")[0] for line in lines[1:2]] == [
        "forwarded 127.0.0.1:7003"
    ]
    assert "trayagent keep cluster -L 7004:TARGET:PORT" in lines[2]
    agent.view["hosts"] = [host("cluster", "connected")]
    assert run("keep", "cluster").stderr.startswith("trayagent: You gave no forwards of cluster by hand.\n")
