"""The values that `init` reads from `ssh -G`, which must be valid in ssh_config."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec.structs import replace

from trayagent.config import file_paths
from trayagent.init.resolve_proposed import SshQueries


def test_compression_has_a_value_that_ssh_accepts(tmp_path: Path) -> None:
    """OpenSSH 10 and later print `compression UNKNOWN` for `ssh -C -G`, and reject that value."""
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho hostname web01\necho compression UNKNOWN\n")
    ssh.chmod(0o755)
    queries = SshQueries(replace(file_paths.find(None), ssh=str(ssh)))
    answer = asyncio.run(queries.resolve("web01", ("-C",)))
    assert answer.lines["compression"] == {"yes"}
