"""The host keys in known_hosts files, and the servers for which they count."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from trayagent.core.facts.resolved import Resolved
from trayagent.sandbox.lab_files import keygen
from trayagent.sandbox.lab_tools import tool
from trayagent.ssh.login.known_hosts import is_trusted, known_keys


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, tuple[str, str]]:
    """Return two keys: the words of their public files, and their form in ssh's log."""
    found = {}
    for name in ("web", "other"):
        keygen(tmp_path / name)
        words = (tmp_path / f"{name}.pub").read_text().split()
        said = subprocess.run(
            [tool("ssh-keygen"), "-lf", str(tmp_path / name)], capture_output=True, text=True, check=True
        ).stdout.split()
        found[name] = (" ".join(words[:2]), f"{words[0]} {said[1]}")
    return found


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize(
    ("host", "name"), [("web", "web"), ("[web]:2222", "[web]:2222"), ("10.0.0.1", "10.0.0.1")]
)
def test_the_key_of_the_name_is_trusted_and_no_other(
    keys: dict[str, tuple[str, str]], tmp_path: Path, host: str, name: str, *, hashed: bool
) -> None:
    """The key of the host's name is trusted, in plain and hashed files. The key of another host is not."""
    file = tmp_path / "known_hosts"
    file.write_text(f"# a comment\n{host} {keys['web'][0]}\nelsewhere {keys['other'][0]}\n\n")
    if hashed:
        subprocess.run([tool("ssh-keygen"), "-q", "-H", "-f", str(file)], capture_output=True, check=True)
    assert is_trusted(keys["web"][1], [name, "unlisted"], [tmp_path / "missing", file])
    assert not is_trusted(keys["other"][1], [name, "unlisted"], [file])


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize(
    ("resolved", "name"),
    [
        (Resolved("w", "web"), "web"),
        (Resolved("w", "web", port=2222), "[web]:2222"),
        (Resolved("w", "10.0.0.1", port=2222, host_key_alias="web"), "web"),
    ],
)
def test_names_and_ports_of_one_server_have_the_same_known_keys(
    keys: dict[str, tuple[str, str]], tmp_path: Path, resolved: Resolved, name: str, *, hashed: bool
) -> None:
    """The keys are those under the name that ssh itself would use: the name with its port, or the HostKeyAlias."""
    file = tmp_path / "known_hosts"
    file.write_text(f"{name} {keys['web'][0]}\n@revoked {name} {keys['other'][0]}\nelse {keys['other'][0]}\n")
    if hashed:
        subprocess.run([tool("ssh-keygen"), "-q", "-H", "-f", str(file)], capture_output=True, check=True)
    assert known_keys(replace(resolved, user_known_hosts=(str(file),))) == {keys["web"][1]}


def test_if_no_name_is_known_any_known_key_is_trusted(
    keys: dict[str, tuple[str, str]], tmp_path: Path
) -> None:
    """If no name is known, any key in the files is trusted, and other keys are not."""
    file = tmp_path / "known_hosts"
    file.write_text(f"web {keys['web'][0]}\n")
    assert is_trusted(keys["web"][1], ["10.0.0.1"], [file])
    assert not is_trusted(keys["other"][1], ["10.0.0.1"], [file])


def test_patterns_and_markers(keys: dict[str, tuple[str, str]], tmp_path: Path) -> None:
    """Wildcards and negations apply; a revoked key and the key of a certificate authority are not trusted."""
    file = tmp_path / "known_hosts"
    file.write_text(f"*.example.org,!bad.example.org {keys['web'][0]}\nbad.example.org {keys['other'][0]}\n")
    assert is_trusted(keys["web"][1], ["good.example.org"], [file])
    assert not is_trusted(keys["web"][1], ["bad.example.org"], [file])
    file.write_text(f"@cert-authority web {keys['web'][0]}\n")
    assert not is_trusted(keys["web"][1], ["web"], [file])
    file.write_text(f"web {keys['web'][0]}\n@revoked * {keys['web'][0]}\n")
    assert not is_trusted(keys["web"][1], ["web"], [file])
