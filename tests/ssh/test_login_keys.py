"""The keys that a login offers, and whether the login needs the user."""

from __future__ import annotations

import base64
import struct
import subprocess
from pathlib import Path

import pytest

from trayagent.core.facts.evidence import NO_EVIDENCE
from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.login.login_keys import login_keys, login_obstacle
from trayagent.ssh.login.read_keys import kind_of, public_key


def key(path: Path, passphrase: str = "", *, public: bool = True) -> Path:
    """Make a key pair, or only a private key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)], check=True)
    if not public:
        path.with_name(path.name + ".pub").unlink()
    return path


def host(*files: Path, only: bool = True) -> Resolved:
    """Return a host with these IdentityFiles."""
    return Resolved("web", "web.example", identity_files=tuple(map(str, files)), identities_only=only)


def blob(path: Path) -> bytes:
    """Return the public key of a pair."""
    return base64.b64decode(path.with_name(path.name + ".pub").read_text().split()[1])


@pytest.mark.parametrize("passphrase", ["", "secret"])
def test_the_public_key_is_found_with_and_without_its_file(tmp_path: Path, passphrase: str) -> None:
    """The public key is found in its file, or unencrypted in an OpenSSH private key."""
    path = key(tmp_path / "id", passphrase)
    expected = blob(path)
    assert public_key(path) == expected
    path.with_name("id.pub").unlink()
    assert public_key(path) == expected
    assert kind_of(expected) == "ssh-ed25519"


def test_files_that_are_no_keys_have_no_public_key(tmp_path: Path) -> None:
    """Empty, binary and truncated files have no public key, and raise no error."""
    for number, content in enumerate(
        (b"", b"\0" * 300, b"ssh-ed25519", b"ssh-ed25519 AAAA", b"openssh-key-v1\0")
    ):
        path = tmp_path / str(number)
        path.write_bytes(content)
        assert public_key(path) is None
    cut = key(tmp_path / "id", public=False)
    cut.write_bytes(b"".join(cut.read_bytes().splitlines(keepends=True)[:2]))
    public_key(cut)


def test_the_agents_keys_count_if_ssh_would_offer_them(tmp_path: Path) -> None:
    """All keys of the ssh-agent count, or with IdentitiesOnly those that an IdentityFile names."""
    mine, other = key(tmp_path / "mine"), key(tmp_path / "other")
    held = (blob(mine), blob(other))
    assert login_keys(host(mine), held).agent == (blob(mine),)
    assert login_keys(host(mine, only=False), held).agent == held
    assert login_keys(host(mine), None).agent == ()


def test_a_plain_key_does_not_need_the_user(tmp_path: Path) -> None:
    """A login with a plain key does not need the user, whatever other keys there are."""
    plain, locked = key(tmp_path / "plain"), key(tmp_path / "locked", "secret")
    resolved = host(plain, locked, tmp_path / "absent")
    assert login_obstacle(resolved, login_keys(resolved, None)) == NO_EVIDENCE


def test_a_locked_key_needs_the_user_unless_the_agent_holds_it(tmp_path: Path) -> None:
    """A locked key needs the user unless the ssh-agent holds it. An empty, locked or missing ssh-agent does not."""
    locked = key(tmp_path / "locked", "secret")
    resolved = host(locked)
    assert login_obstacle(resolved, login_keys(resolved, None)).get("key") == "locked"
    assert login_obstacle(resolved, login_keys(resolved, ())).get("key") == "locked"
    assert login_obstacle(resolved, login_keys(resolved, (blob(locked),))) == NO_EVIDENCE


def test_a_public_key_alone_needs_the_agent(tmp_path: Path) -> None:
    """If only the public key is there, the login needs an ssh-agent that holds the key."""
    public = key(tmp_path / "id").with_name("id.pub")
    resolved = host(public)
    assert login_obstacle(resolved, login_keys(resolved, ())).get("agent") == "empty"
    assert login_obstacle(resolved, login_keys(resolved, (blob(tmp_path / "id"),))) == NO_EVIDENCE


@pytest.mark.parametrize("where", ["file", "agent"])
def test_a_security_key_needs_a_touch(tmp_path: Path, where: str) -> None:
    """A security key needs a touch wherever it is, even beside a plain key, because ssh may try it first."""
    plain, touched = key(tmp_path / "plain"), tmp_path / "id_sk"
    kind = b"sk-ssh-ed25519@openssh.com"
    security = struct.pack(">I", len(kind)) + kind + b"\0\0\0\x01x"
    touched.write_text(f"{kind.decode()} {base64.b64encode(security).decode()}\n")
    resolved = host(plain, *([touched] if where == "file" else []), only=False)
    held = (security,) if where == "agent" else ()
    assert login_obstacle(resolved, login_keys(resolved, held)).get("key") == "security_key"


def test_a_pkcs11_provider_needs_the_user(tmp_path: Path) -> None:
    """A login with a PKCS#11 provider needs the user, because the hardware may need a PIN."""
    resolved = Resolved(
        "web", "web.example", identity_files=(str(key(tmp_path / "id")),), pkcs11_provider="x.so"
    )
    assert login_obstacle(resolved, login_keys(resolved, None)).get("key") == "hardware"
