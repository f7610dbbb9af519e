"""The agent's commands to the far relay, through a real master and sshd."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.roaming.conftest import HOST
from trayagent.agent.roaming import far_relay_commands as far
from trayagent.agent.roaming.far_relay_errors import FarError
from trayagent.roaming.near_client import FAR_RELAY, new_token
from trayagent.sandbox import Lab
from trayagent.sandbox.roaming_relays import NearRelay, wait_for

ROAM_S = 3600


class Outer:
    """A plain master, like the agent's outer master."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.path = str(lab.files.runtime / "outer")
        self.child = lab.laptop.popen(["ssh", "-M", "-N", "-S", self.path, HOST])
        wait_for(lambda: Path(self.path).exists(), "the outer master listens")

    @property
    def program(self) -> Path:
        """The path of the far relay's program on the server."""
        return self.lab.files.far_home / ".cache/trayagent/far_relay.py"

    def serve(self, token: str | None = None) -> far.FarAnswer:
        """Start a far relay."""
        return asyncio.run(far.serve(self.path, token or new_token(), ROAM_S, "my laptop's"))

    def relays(self) -> list[str]:
        """Return the IDs of the far relays."""
        return [one["id"] for one in asyncio.run(far.relays(self.path)).words["relays"]]

    def again(self) -> None:
        """Log in again, with the server's current configuration."""
        self.close()
        self.__init__(self.lab)  # type: ignore[misc]

    def close(self) -> None:
        """End the master."""
        self.child.kill()
        self.child.wait()
        Path(self.path).unlink(missing_ok=True)


@pytest.fixture
def outer(lab: Lab) -> Iterator[Outer]:
    """Start a master to the server."""
    made = Outer(lab)
    yield made
    made.close()


def test_serve_installs_the_program_once(outer: Outer) -> None:
    """Starting the first relay installs the program, and the second finds it.

    Both are listed with the laptop's name.
    """
    assert not outer.program.exists()
    one, two = new_token(), new_token()
    said = outer.serve(one)
    assert (said.words["id"], said.words["laptop"]) == (one[:16], "my laptop's")
    assert said.machine and said.boot
    assert outer.program.read_bytes() == FAR_RELAY.read_bytes()
    assert outer.program.stat().st_mode & 0o777 == 0o600
    before = outer.program.stat().st_mtime_ns
    outer.serve(two)
    assert outer.program.stat().st_mtime_ns == before
    assert set(outer.relays()) == {one[:16], two[:16]}
    assert asyncio.run(far.end(outer.path, one)).words["id"] == one[:16]
    wait_for(lambda: outer.relays() == [two[:16]], "the first relay ended")


def test_another_version_is_replaced_and_its_relays_go_on(outer: Outer) -> None:
    """A program of another version is replaced for the next relay. A relay of the other version can still be ended."""
    one, two = new_token(), new_token()
    outer.serve(one)
    outer.program.write_text(FAR_RELAY.read_text() + "# another version\n")
    assert asyncio.run(far.end(outer.path, one)).words["id"] == one[:16]
    assert outer.program.read_bytes() != FAR_RELAY.read_bytes()
    outer.serve(two)
    assert outer.program.read_bytes() == FAR_RELAY.read_bytes()
    assert not [one for one in outer.program.parent.iterdir() if one.name.startswith(".far")]


def test_a_token_that_no_relay_has_is_unknown(outer: Outer) -> None:
    """For a token without a relay, `end` reports `unknown` and ends no other relay."""
    mine = new_token()
    outer.serve(mine)
    with pytest.raises(FarError) as refused:
        asyncio.run(far.end(outer.path, new_token()))
    assert refused.value.code == "unknown"
    assert outer.relays() == [mine[:16]]


def test_a_channel_carries_the_connection(outer: Outer, near: NearRelay) -> None:
    """The near relay attaches over a channel of the master, and keeps it after the agent closed its copies."""
    token = new_token()
    said = outer.serve(token)

    async def attach() -> dict[str, object]:
        channel = await far.open_channel(outer.path, token[:16])
        try:
            return await asyncio.to_thread(near.client.ask, "attach", channel.fds, id=token[:16])
        finally:
            channel.close()

    inner = near.client.start(token, ROAM_S, HOST)
    with inner:
        answer = asyncio.run(attach())
        assert (answer["ok"], answer["machine"], answer["boot"]) == (True, said.machine, said.boot)
        inner.settimeout(30)
        assert inner.recv(100).startswith(b"SSH-2.0-")
        outer.close()
        wait_for(lambda: (near.session(token) or {}).get("state") == "away", "the channel is gone")


def forced(folder: Path, *names: str) -> str:
    """Return an sshd_config line for a login whose PATH has only the programs in this folder."""
    folder.mkdir()
    for name in names:
        found = str(Path(sys.executable).resolve()) if name == "python3" else shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return f"SetEnv PATH={folder}"


def test_a_server_without_python3_is_named(lab: Lab, outer: Outer) -> None:
    """Without python3 no program is installed, and the reason says so. A python3 that fails gives another reason."""
    folder = lab.files.root / "few"
    names = ("sh", "cat", "mkdir", "mv", "rm", "wc", "sha256sum", "bash")
    lab.servers[0].restart([forced(folder, *names)])
    outer.again()
    with pytest.raises(FarError) as refused:
        outer.serve()
    assert (refused.value.code, refused.value.title) == ("no-python", "The server has no python3")
    assert not outer.program.exists()
    (folder / "python3").write_text("#!/bin/sh\necho SyntaxError >&2\nexit 1\n")
    (folder / "python3").chmod(0o755)
    with pytest.raises(FarError) as refused:
        outer.serve()
    assert refused.value.code == "no-answer"


def test_a_server_without_a_hash_program_gets_the_file_again(lab: Lab, outer: Outer) -> None:
    """If the server has no hash program, each start writes the file again, and the relay runs."""
    folder = lab.files.root / "few"
    names = ("sh", "cat", "mkdir", "mv", "rm", "wc", "bash", "python3")
    lab.servers[0].restart([forced(folder, *names)])
    outer.again()
    token = new_token()
    assert outer.serve(token).words["id"] == token[:16]
    assert outer.relays() == [token[:16]]


@pytest.mark.parametrize("answer", ["b true", "b false"])
def test_a_server_that_ends_what_a_login_leaves_behind(lab: Lab, outer: Outer, answer: str) -> None:
    """With KillUserProcesses=yes the far relay starts in its own scope, otherwise without a scope.

    Two fake programs replace systemd's, because the laboratory has no logind.
    """
    folder = lab.files.root / "stand-ins"
    folder.mkdir()
    for name, script in (
        ("busctl", f"echo {answer}"),
        (
            "systemd-run",
            f'echo "$@" >{folder}/called; while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
        ),
    ):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    path = f"{folder}:{Path(sys.executable).resolve().parent}:/usr/local/bin:/usr/bin:/bin"
    lab.servers[0].restart([f"SetEnv PATH={path}"])
    outer.again()
    token = new_token()
    assert outer.serve(token).words["id"] == token[:16]
    assert outer.relays() == [token[:16]]
    called = folder / "called"
    assert called.exists() == (answer == "b true")
    assert not called.exists() or called.read_text().startswith("--user --scope --quiet -- python3 ")


@pytest.mark.parametrize("command", ["echo for forwards only", "cat", "internal-sftp"])
def test_a_forced_command_is_no_shell(lab: Lab, outer: Outer, command: str) -> None:
    """An account that runs no commands is reported as `no-shell`, and its master stays."""
    lab.servers[0].restart([f"ForceCommand {command}"])
    outer.again()
    with pytest.raises(FarError) as refused:
        outer.serve()
    assert refused.value.code in {"no-shell", "no-answer"}
    assert outer.child.poll() is None


def test_a_home_that_cannot_be_written_is_reported(lab: Lab, outer: Outer) -> None:
    """If the home is full or read-only, the error is reported, and no incomplete file is left."""
    folder = lab.files.far_home / ".cache"
    folder.mkdir()
    lab.server.check(["mount", "-t", "tmpfs", "-o", "size=16k,mode=0700", "lab", str(folder)], admin=True)
    outer.again()
    with pytest.raises(FarError) as refused:
        outer.serve()
    assert refused.value.code == "not-installed"
    left = lab.server.run(["find", str(folder), "-type", "f"]).stdout
    assert not left, left


def test_a_folder_that_others_can_open_is_refused(outer: Outer) -> None:
    """The far relay creates no socket in a folder that other users can open."""
    outer.serve()
    (place,) = [one for one in outer.program.parent.iterdir() if one.is_dir() and one.name != "__pycache__"]
    place.chmod(0o755)
    with pytest.raises(FarError) as refused:
        outer.serve()
    assert refused.value.code == "unsafe-folder"
    place.chmod(0o700)
