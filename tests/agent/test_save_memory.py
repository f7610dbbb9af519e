"""The agent saves memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from trayagent.agent import save_memory

AGENT = """
import trayagent.agent.main, hashlib, sys
print(hashlib.sha256(b"web01").hexdigest(), hashlib.sha512(b"web01").hexdigest())
print([line for line in open("/proc/self/maps") if "libcrypto" in line or "libssl" in line])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.skipif(not save_memory.has_own_hashes(), reason="this Python has no hashes without OpenSSL")
def test_the_agent_does_not_load_openssl() -> None:
    """OpenSSL takes 7 MB, and the agent needs only hashes, which Python has itself. They are the same."""
    done = subprocess.run(
        [sys.executable, "-c", AGENT], capture_output=True, text=True, check=True, timeout=60
    )
    expected = f"{hashlib.sha256(b'web01').hexdigest()} {hashlib.sha512(b'web01').hexdigest()}"
    assert done.stdout.splitlines() == [expected, "[]"]
    assert done.stderr == ""
