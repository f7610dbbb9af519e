"""The ciphers that the masters of a host that roams request first."""

from __future__ import annotations

import subprocess

import pytest
from msgspec.structs import replace

from trayagent.agent.masters import link_cipher
from trayagent.agent.masters.link_cipher import AES, CHACHA
from trayagent.core.facts.hosts import Host, Wish
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.roaming import RoamingStart
from trayagent.ssh.resolve import parse

ROAMS = Host("web", wish=Wish(roam=True, listed=True))


@pytest.fixture(params=[True, False])
def aes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Simulate a processor with or without AES instructions."""
    monkeypatch.setattr(link_cipher, "has_aes", lambda: request.param)
    return bool(request.param)


def test_only_hosts_that_are_to_roam_have_a_cheap_outer_cipher(aes: bool) -> None:
    """Only the outer master of a host that roams gets a cheap cipher. Other hosts leave the cipher to ssh_config."""
    assert link_cipher.link_cipher(ROAMS) == (AES if aes else CHACHA)
    assert link_cipher.link_cipher(replace(ROAMS, wish=Wish(listed=True))) is None
    assert link_cipher.link_cipher(replace(ROAMS, roaming_start=RoamingStart(reason="no python3"))) is None


def test_the_order_that_a_user_chose_is_kept_for_the_sessions(aes: bool) -> None:
    """The inner master reorders the ciphers only if ssh_config leaves ssh's default order."""
    said = subprocess.run(
        ["ssh", "-F", "none", "-G", "web"],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    ).stdout
    assert link_cipher.session_cipher(parse(said)) == (AES if aes else None)
    for chosen in ((CHACHA, AES), ("aes256-gcm@openssh.com", AES), ()):
        assert link_cipher.session_cipher(Resolved("web", "web", ciphers=chosen)) is None
