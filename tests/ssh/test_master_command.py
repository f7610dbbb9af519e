"""The command line of a master."""

from __future__ import annotations

import pytest

from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.master.master_command_line import master_command
from trayagent.ssh.os.processor import has_aes_flag

ALLOWED = ("chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com")
FIRST = "aes128-gcm@openssh.com"


def ciphers(allowed: tuple[str, ...], cipher: str | None) -> str | None:
    """Return the value of Ciphers on the command line, or None without that option."""
    resolved = Resolved("web", "web", ciphers=allowed)
    words = master_command("web", resolved, "/cm/web", background=False, log="/run/log", cipher=cipher)
    return next((word.removeprefix("Ciphers=") for word in words if word.startswith("Ciphers=")), None)


def test_a_cipher_is_only_moved_to_the_front() -> None:
    """The command line allows no cipher that ssh_config does not allow, and forbids none."""
    assert ciphers(ALLOWED, FIRST) == f"{FIRST},{','.join(ALLOWED[:2])}"
    assert ciphers(ALLOWED[:2], FIRST) is None
    assert ciphers(ALLOWED, None) is None


@pytest.mark.parametrize(
    ("cpuinfo", "found"),
    [
        ("processor\t: 0\nflags\t\t: fpu aes avx2\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd aes crc32\n", True),
        ("processor\t: 0\nflags\t\t: fpu vaes\n", False),
        ("processor\t: 0\nmodel\t\t: aes\n", False),
        ("", False),
    ],
)
def test_a_processor_with_aes_is_recognized(cpuinfo: str, found: bool) -> None:
    """AES is recognized by the flags of the first processor, on x86 and on ARM."""
    assert has_aes_flag(cpuinfo) == found
