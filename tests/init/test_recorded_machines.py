"""Each recorded home directory leads to its expected configuration."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.init.conftest import MACHINES, Init, furnish
from trayagent.config.load_file import load

EXPECTED = Path(__file__).parent / "expected"


@pytest.mark.lab
@pytest.mark.parametrize("name", sorted(path.name for path in MACHINES.iterdir()))
def test_each_recorded_machine_gets_its_configuration(name: str, home: Path, init: Init) -> None:
    """The output equals the recorded expectation, and the written file is the same and loads."""
    if name == "tokens" and not Path("/etc/services").exists():
        pytest.skip("a machine without /etc/services (Debian's netbase): ssh knows no port by name")
    furnish(home, name)
    shown = init("--print")
    assert shown.returncode == 0, shown.stderr
    # On a slow machine `init` prints its progress.
    said = {".toml": shown.stdout, ".txt": re.sub(r"^Reading .*\n", "", shown.stderr)}
    for ending, text in said.items():
        plain = text.replace(str(home), "{home}").replace(f"gui/{os.getuid()}/", "gui/{uid}/")
        expected = EXPECTED / f"{name}{ending}"
        if os.environ.get("RECORD"):
            # This rewrites the recorded file. Check the difference before you commit it.
            expected.write_text(plain)
        assert plain == expected.read_text()
    assert not (home / ".config/trayagent").exists()

    done = init("--yes")
    assert done.returncode == 0, done.stderr
    written = home / ".config/trayagent/config.toml"
    assert written.read_text() == shown.stdout
    assert (written.stat().st_mode & 0o777, written.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    load(written)
