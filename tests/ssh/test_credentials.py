from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.login.read_keys import agent_keys, agent_socket, passphrase_needed, wants_passphrase


def key(path: Path, passphrase: str, *options: str) -> Path:
    """Make a key pair."""
    words = ["ssh-keygen", "-q", "-N", passphrase, "-f", str(path), *(options or ("-t", "ed25519"))]
    subprocess.run(words, check=True)
    return path


@pytest.fixture
def auth_sock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a real ssh-agent."""
    path = tmp_path_factory.mktemp("a") / "s"
    child = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()  # the ssh-agent prints its socket when it listens
    yield str(path)
    child.send_signal(signal.SIGTERM)
    child.wait()
    child.stdout.close()


@pytest.mark.parametrize(
    "options", [("-t", "ed25519"), ("-t", "rsa", "-b", "2048", "-m", "PEM"), ("-t", "ecdsa", "-m", "PKCS8")]
)
@pytest.mark.parametrize("passphrase", ["", "secret"])
def test_an_encrypted_key_file_is_distinguished_from_a_plain_one(
    tmp_path: Path, passphrase: str, options: tuple[str, ...]
) -> None:
    """Encrypted and plain key files are distinguished in each format that ssh-keygen writes."""
    assert wants_passphrase(key(tmp_path / "k", passphrase, *options)) is bool(passphrase)


def test_a_file_that_is_no_key_needs_no_passphrase(tmp_path: Path) -> None:
    """Random bytes, an empty file and a missing file do not count as encrypted keys."""
    rubbish = tmp_path / "rubbish"
    rubbish.write_bytes(os.urandom(300))
    empty = tmp_path / "empty"
    empty.touch()
    assert not any(map(wants_passphrase, (rubbish, empty, tmp_path / "missing")))


def test_the_keys_of_an_ssh_agent_are_counted(auth_sock: str, tmp_path: Path) -> None:
    """`agent_keys` returns 0 for an empty or locked ssh-agent, 1 for one key, and None without an ssh-agent."""
    assert agent_keys(auth_sock) == 0
    env = {**os.environ, "SSH_AUTH_SOCK": auth_sock}
    subprocess.run(["ssh-add", "-q", str(key(tmp_path / "k", ""))], env=env, check=True)
    assert agent_keys(auth_sock) == 1
    assert agent_keys(str(tmp_path / "nothing")) is None
    assert agent_keys(None) is None


def test_a_passphrase_is_needed_only_without_another_key(auth_sock: str, tmp_path: Path) -> None:
    """An encrypted key needs a passphrase with an empty ssh-agent, but not beside a plain key or a loaded one."""
    encrypted, plain = key(tmp_path / "e", "secret"), key(tmp_path / "p", "")
    assert passphrase_needed(auth_sock, [str(encrypted)]) == encrypted
    assert passphrase_needed(None, [str(encrypted), str(tmp_path / "missing")]) == encrypted
    assert passphrase_needed(auth_sock, [str(encrypted), str(plain)]) is None
    assert passphrase_needed(None, []) is None
    subprocess.run(["ssh-add", "-q", str(plain)], env={**os.environ, "SSH_AUTH_SOCK": auth_sock}, check=True)
    assert passphrase_needed(auth_sock, [str(encrypted)]) is None


@pytest.mark.parametrize(
    ("named", "asked"),
    [(None, "/s"), ("SSH_AUTH_SOCK", "/s"), ("none", None), ("$OTHER", "/o"), ("/own", "/own")],
)
def test_the_ssh_agent_is_the_one_that_ssh_uses(named: str | None, asked: str | None) -> None:
    """IdentityAgent selects the ssh-agent. With "none" there is no ssh-agent, whatever the environment contains."""
    resolved = Resolved("web", "web", identity_agent=named)
    assert agent_socket(resolved, {"SSH_AUTH_SOCK": "/s", "OTHER": "/o"}) == asked
