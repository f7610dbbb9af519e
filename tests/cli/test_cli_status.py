from __future__ import annotations

import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    Run = Callable[..., subprocess.CompletedProcess[str]]
    Agent = Any  # the type is conftest's FakeAgent, but a conftest cannot be imported

WITHIN_S = 20.0


def on_a_terminal(
    words: list[str], env: dict[str, str], columns: int = 100, interrupt_after: str | None = None
) -> tuple[int, str]:
    """Run the command on a terminal. Press Ctrl-C after the given output, and return status and output."""
    pid, terminal = pty.fork()
    if pid == 0:
        command = [sys.executable, "-m", "trayagent", *words]
        os.execve(sys.executable, command, env | {"COLUMNS": str(columns)})  # noqa: S606  # a list of words, no shell
    seen, interrupted = "", False
    deadline = time.monotonic() + WITHIN_S
    try:
        while time.monotonic() < deadline:
            try:
                chunk = os.read(terminal, 65536)
            except OSError:  # EIO: the program has closed the terminal
                break
            if not chunk:
                break
            seen += chunk.decode()
            if interrupt_after is not None and interrupt_after in seen and not interrupted:
                interrupted = True
                os.write(terminal, b"\x03")
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), seen


def test_json_is_the_agents_view_and_nothing_else(run: Run, agent: Agent) -> None:
    """`status --json` prints the agent's object unchanged, for all or for the given hosts."""
    done = run("status", "--json", "web01")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == agent.view
    assert agent.asked == [("status", {"hosts": ["web01"]})]


def test_json_imports_nothing_heavy(cli_env: dict[str, str], agent: Agent) -> None:
    """`status --json` imports neither asyncio nor rich nor other slow modules."""
    code = "import sys; from trayagent.cli.main import entry; s = entry(['status', '--json']);"
    code += "print(*sys.modules, file=sys.stderr); sys.exit(s)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=cli_env, capture_output=True, text=True, check=True
    )
    heavy = {
        "asyncio",
        "rich",
        "msgspec",
        "platformdirs",
        "pathlib",
        "dataclasses",
        "typing",
        "importlib.metadata",
    }
    assert heavy & set(done.stderr.split()) == set()
    assert agent.asked


def test_json_costs_less_than_four_bare_interpreters(
    cli_env: dict[str, str], agent: Agent, tmp_path: Any
) -> None:
    """The cost is the least processor time of several runs, with compiled modules as in an installation.

    This cost is 2.8 times that of a bare interpreter, and up to 3.1 times on a busy machine.
    """
    env = {k: v for k, v in cli_env.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(tmp_path / "pyc")

    def cost_s(*words: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], env=env, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    code = "import sys; from trayagent.cli.main import entry; sys.exit(entry(['status', '--json']))"
    cost_s("-c", code)  # the first run compiles the modules
    costs = [(cost_s("-c", "pass"), cost_s("-c", code)) for _ in range(12)]
    bare, status = (min(column) for column in zip(*costs, strict=True))
    assert status < 4 * bare, f"{status * 1e3:.1f} ms, bare {bare * 1e3:.1f} ms"
    assert agent.asked


def test_users_see_a_headline_a_line_per_host_and_problems_beneath(run: Run, agent: Agent) -> None:
    """`status` prints a headline, then a line per host with forwards, and below that problems, hints and VPNs."""
    lines = run("status").stdout.splitlines()
    assert lines[0] == "1 of 3 connected · wlan0 192.168.10.2"
    text = [re.sub(r"for \d+ d( \d+ h)?", "for AGES", line) for line in lines[1:]]
    assert [re.sub(r"  +", "  ", line) for line in text] == [
        "",
        "● web01  connected  for AGES  -L 8080:localhost:80  -R 22221:localhost:22 ✗",
        "  -R 22221:localhost:22: port 22221 is taken on the server",
        "✗ db  failed  for AGES",
        "  db shows another host key",
        "  Compare it with db's own.",
        "↻ nas  waiting  for AGES",
        re.sub(r"  +", "  ", text[7]),
        "",
        "● VPN corp up tun0  for AGES",
    ]
    assert re.fullmatch(r"    next try in \d+ d.* · attempt 3", text[7])
    assert agent.asked == [("status", {"hosts": []})]


@pytest.mark.parametrize(
    ("states", "paused", "said"),
    [
        (("connected", "waiting", "idle"), False, "1 of 2 connected · "),
        (("connected", "paused"), False, "1 of 1 connected · "),
        (("idle",), False, "Nothing to connect · "),
        (("paused", "paused"), True, "wlan0 192.168.10.2 · paused"),
        ((), False, "No hosts yet: "),
    ],
)
def test_only_what_is_to_be_connected_counts(
    run: Run, agent: Agent, states: tuple[str, ...], paused: bool, said: str
) -> None:
    """The headline counts only hosts that should be connected, like the menu's headline."""
    agent.view["agent"]["paused"] = paused
    agent.view["hosts"] = [agent.view["hosts"][0] | {"state": state} for state in states]
    assert run("status").stdout.startswith(said)


def test_no_colour_leaves_a_pipe_or_a_terminal_that_wants_none(
    run: Run, agent: Agent, cli_env: dict[str, str]
) -> None:
    """Colour appears only on a terminal, and not with NO_COLOR."""
    assert "\x1b" not in run("status").stdout
    _, coloured = on_a_terminal(["status"], cli_env)
    assert "\x1b[32m●" in coloured
    _, plain = on_a_terminal(["status"], cli_env | {"NO_COLOR": "1"})
    assert "●" in plain
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", plain)
    assert agent.asked


def test_each_state_has_a_sign_of_its_own_even_without_utf8(run: Run, agent: Agent) -> None:
    """Users without colours or UTF-8 can still distinguish the states."""
    states = [
        "connected",
        "checking",
        "connecting",
        "waiting",
        "offline",
        "needs-vpn",
        "needs-sign-in",
        "failed",
    ]
    states += ["paused", "idle"]
    one = agent.view["hosts"][1] | {"problem": None, "forwards": []}
    agent.view["hosts"] = [one | {"name": f"h{n}", "state": state} for n, state in enumerate(states)]
    agent.view["vpns"] = []
    for env in ({}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}):
        shown = run("status", **env).stdout.splitlines()[2:]
        assert len({line[0] for line in shown}) == len(states), shown
        assert all(ord(line[0]) < 128 for line in shown) == bool(env)


@pytest.mark.parametrize("columns", [80, 40])
def test_forwards_that_do_not_fit_go_on_beneath(agent: Agent, cli_env: dict[str, str], columns: int) -> None:
    """On a narrow terminal no line is too long and no forward is cut, even if none fits beside the host."""
    forward = agent.view["hosts"][0]["forwards"][0]
    specs = [f"{port}:localhost:80" for port in range(8000, 8012)]
    agent.view["hosts"] = [agent.view["hosts"][0] | {"forwards": [forward | {"spec": s} for s in specs]}]
    _, seen = on_a_terminal(["status"], cli_env | {"NO_COLOR": "1"}, columns=columns)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen).splitlines()
    assert max(len(line) for line in lines if "-L" in line) <= columns
    assert all(f"-L {spec}" in "\n".join(lines) for spec in specs)


def test_a_servers_words_cannot_command_the_terminal(run: Run, agent: Agent) -> None:
    """Escape sequences and rich's markup in names and problems are printed as text."""
    agent.view["hosts"][1]["problem"] = {
        "code": "unknown",
        "title": "\x1b]0;owned\x07 [red]x",
        "hint": "a\nb",
    }
    agent.view["hosts"][1]["name"] = "d\x1b[2Jb"
    done = run("status")
    assert "\x1b" not in done.stdout
    assert "[red]x" in done.stdout
    assert "    a b\n" in done.stdout


@pytest.mark.parametrize(
    ("change", "headline"),
    [
        (
            {"network": {"online": False, "name": None, "default": None, "interfaces": []}},
            "no usable network",
        ),
        ({"network": {"online": True, "name": "Home", "default": None, "interfaces": []}}, "(Home)"),
        (
            {"agent": {"paused": True, "paused_until": "2030-01-01T10:00:00Z"}},
            "paused until 2030-01-01 10:00:00",
        ),
        ({"agent": {"paused": True, "paused_until": None}}, "paused"),
        ({"hosts": []}, "No hosts yet"),
    ],
)
def test_the_headline_says_what_concerns_everything(
    run: Run, agent: Agent, change: dict[str, Any], headline: str
) -> None:
    """The headline shows a missing network, a pause and an empty configuration."""
    agent.view |= change
    done = run("status")
    assert done.returncode == 0
    assert headline in done.stdout.splitlines()[0]


def test_a_host_that_waits_for_ssh_g_says_so(run: Run, agent: Agent) -> None:
    """While ssh reads its configuration, a host that is connecting shows what it waits for."""
    agent.view["hosts"] = [agent.view["hosts"][0] | {"state": "connecting", "resolving": True}]
    assert "    waits for ssh -G: a Match exec in ssh_config may take long\n" in run("status").stdout


def test_an_idle_host_says_when_control_persist_ends_its_forwards(run: Run, agent: Agent) -> None:
    """An idle host with forwards names ControlPersist, unless the user disconnected it."""
    line = "    ControlPersist in ssh_config ends its forwards 10 min after its last use\n"
    idle = agent.view["hosts"][0] | {"state": "idle", "persist_s": 600}
    agent.view["hosts"] = [idle]
    assert line in run("status").stdout
    others: tuple[dict[str, Any], ...] = ({"held": True}, {"forwards": []}, {"persist_s": None})
    for other in others:
        agent.view["hosts"] = [idle | other]
        assert line not in run("status").stdout


def test_without_hosts_the_status_names_ssh_sessions_that_may_hang(run: Run, agent: Agent) -> None:
    """If the agent knows no host, `status` counts the ssh sessions beside, and says how the agent can end them."""
    agent.view |= {"hosts": [], "vpns": []}
    agent.view["agent"]["unlisted_ssh"] = 2
    assert [line.strip() for line in run("status").stdout.splitlines()[1:]] == [
        "2 ssh sessions have their own connections, and may hang after a change of network.",
        'To let the agent end such an ssh: beside = "end" under [agent]',
    ]


def test_a_host_that_the_user_disconnected_says_so_and_how_to_reconnect(run: Run, agent: Agent) -> None:
    """A host that the user disconnected has a line with the reconnect command. An unused host has no such line."""
    db, nas = agent.view["hosts"][1:]
    db |= {"state": "idle", "problem": None}
    nas |= {"state": "idle", "problem": None, "next_retry": None, "held": True}
    lines = run("status").stdout.splitlines()
    assert [line for line in lines if "by you" in line] == [
        "    disconnected by you · trayagent reconnect nas"
    ]
    assert lines.index("    disconnected by you · trayagent reconnect nas") > [x[2:5] for x in lines].index(
        "nas"
    )


def test_sessions_of_an_earlier_connection_are_shown(run: Run, agent: Agent) -> None:
    """A line shows the number of sessions of an earlier connection, and when that connection was made."""
    since = "2026-01-01T13:02:00Z"
    agent.view["hosts"][0]["draining"] = [{"pid": 7, "since": since, "sessions": 2, "connections": 0}]
    assert "    2 sessions still use the connection made at " in run("status").stdout


def test_a_rejected_configuration_is_reported_first(run: Run, agent: Agent) -> None:
    """A rejected configuration is reported first. The rest of the output is based on the previous configuration."""
    agent.view["agent"]["config_error"] = "config.toml: hosts.web: no key `conect`"
    lines = run("status").stdout.splitlines()
    assert lines[:2] == [
        "Configuration rejected: config.toml: hosts.web: no key `conect`",
        "The previous configuration stays in force until you fix the file.",
    ]
    assert lines[2].startswith("1 of 3 connected")


def test_watch_repaints_on_a_terminal_until_interrupted(agent: Agent, cli_env: dict[str, str]) -> None:
    """`--watch` repaints each view over the previous one. Ctrl-C ends it without a message and restores the cursor."""
    second = deepcopy(agent.view)
    second["hosts"][2]["state"] = "connected"
    agent.streams["watch"] = [agent.view, second]
    status, seen = on_a_terminal(["status", "--watch"], cli_env, interrupt_after="2 of 3")
    assert status == 130
    assert "Traceback" not in seen
    assert "\x1b[1A" in seen or "\x1b[1F" in seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_watch_works_on_a_dumb_or_narrow_terminal(agent: Agent, cli_env: dict[str, str], term: str) -> None:
    """On a narrow terminal, each view is shown when it arrives.

    A dumb terminal gets the views without control sequences, wrapped between words like on any other.
    """
    agent.view["hosts"][1]["problem"] = {"code": "unknown", "title": "several words " * 9, "hint": ""}
    second = deepcopy(agent.view)
    second["hosts"][2]["state"] = "connected"
    second["vpns"][0]["name"] = "last"
    agent.streams["watch"] = [agent.view, second]
    env = {**cli_env, "TERM": term}
    status, seen = on_a_terminal(["status", "--watch"], env, columns=40, interrupt_after="VPN last")
    assert (status, "2 of 3" in seen) == (130, True)
    assert ("\x1b" in seen) == (term == "xterm")
    if term == "dumb":
        assert max(map(len, seen.splitlines())) <= 40


def test_watch_prints_one_view_after_the_other_into_a_pipe(agent: Agent, cli_env: dict[str, str]) -> None:
    """Into a pipe, `--watch` prints one JSON line or one block of text per view.

    An interrupt ends it with status 130.
    """
    agent.streams["watch"] = [agent.view]
    for words, sign in ((["--json"], '{"schema": 1'), ([], "1 of 3 connected")):
        command = [sys.executable, "-m", "trayagent", "status", "--watch", *words]
        with subprocess.Popen(
            command, env=cli_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(sign)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=WITHIN_S)
        assert (process.returncode, said) == (130, "")


def test_watch_ends_with_the_agent(agent: Agent, cli_env: dict[str, str]) -> None:
    """When the agent ends, `--watch` ends with status 3 and the hint."""
    agent.streams["watch"] = [agent.view]
    command = [sys.executable, "-m", "trayagent", "status", "--watch", "--json"]
    with subprocess.Popen(
        command, env=cli_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        agent.close()
        _, said = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 3
    assert said == "trayagent: The agent ended.\n  Start it: trayagent run\n"


def test_without_an_agent_status_says_how_to_start_one(run: Run) -> None:
    """Without an agent the exit status is 3, and stdout is empty, so that no script mistakes it for an answer."""
    for words in ([], ["--json"], ["--watch"]):
        done = run("status", *words)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr == "trayagent: No agent is running.\n  Start it: trayagent run\n"


def test_an_unknown_host_is_wrong_usage(run: Run, agent: Agent) -> None:
    """For an unknown host, the exit status is 2, and the error has the agent's text."""
    done = run("status", "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "trayagent: There is no host nowhere.\n  See trayagent status\n"
    assert agent.asked


def test_a_reader_that_leaves_ends_it_quietly(cli_env: dict[str, str], agent: Agent) -> None:
    """`trayagent status | head -1` prints no traceback."""
    agent.view["hosts"] *= 2000
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "trayagent", "status", "--json"]
    done = subprocess.run(command, env=cli_env, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_full_disk_is_reported(cli_env: dict[str, str], agent: Agent) -> None:
    """A failed write is reported as a failure."""
    with open("/dev/full", "w") as full:  # noqa: PTH123  # shorter
        command = [sys.executable, "-m", "trayagent", "status", "--json"]
        done = subprocess.run(
            command, env=cli_env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "trayagent: No space left on device.\n"
    assert agent.asked
