from __future__ import annotations

from pathlib import Path

import pytest

from installers import user_install
from tests.installers.test_user_install import SCRIPT, User
from trayagent.desktop.autostart import write_files
from trayagent.desktop.autostart.linux_systemd import Systemd


@pytest.fixture
def user(tmp_path: Path) -> User:
    """Return a user whose command is a link to the program's path. There is no program yet."""
    user = User(tmp_path)
    user.command.parent.mkdir(parents=True)
    user.command.symlink_to(user.root / "current" / "bin" / "trayagent")
    return user


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("#!/gone/python3.11\n", id="its interpreter is gone"),
        pytest.param("#!/bin/sh\nexit 1\n", id="its interpreter is a newer one, without its modules"),
    ],
)
def test_a_program_that_does_not_run_is_removed_with_what_starts_it(user: User, script: str) -> None:
    """If the program's Python was removed, uninstall still removes the start at login, and keeps foreign files."""
    program = user.root / "venv-1" / "bin" / "trayagent"
    program.parent.mkdir(parents=True)
    program.write_text(script)
    program.chmod(0o755)
    (user.root / "current").symlink_to("venv-1")
    config = user.home / "conf"
    unit = Systemd(config, user.home / "run", user.home)
    unit.enable((str(user.command), "run"))
    entry = config / "autostart" / "trayagent.desktop"
    entry.parent.mkdir()
    entry.write_text("[Desktop Entry]\nExec=/opt/mine/trayagent run\n")
    done = user.run(SCRIPT, "--uninstall", XDG_CONFIG_HOME=str(config))
    assert (done.returncode, done.stderr) == (0, "")
    assert str(unit.path) in done.stdout
    assert [path for path in user.home.rglob("*trayagent*") if path.is_file() or path.is_symlink()] == [entry]
    assert not user.root.exists()


def test_the_mark_of_files_for_the_start_at_login_is_the_programs() -> None:
    """The script's mark equals the program's. The script cannot import it, because it runs with the system's Python."""
    assert write_files.MARK.encode() == user_install.LOGIN_MARK


def test_a_command_whose_folder_is_gone_is_removed(user: User) -> None:
    """If the user removed ~/.local/share/trayagent by hand, uninstall still removes the command."""
    done = user.run(SCRIPT, "--uninstall")
    assert (done.returncode, done.stderr) == (0, "")
    assert str(user.command) in done.stdout
    assert not user.command.is_symlink()
    assert f"  {user.root}\n" not in done.stdout


def test_uninstall_names_the_files_that_stay(user: User, tmp_path: Path) -> None:
    """Uninstall prints the paths of files that stay, as the user chose them, and no command that might not work."""
    chosen = {"XDG_CONFIG_HOME": str(tmp_path / "conf"), "XDG_STATE_HOME": str(tmp_path / "past")}
    said = user.run(SCRIPT, "--uninstall", **chosen).stdout
    assert f"({tmp_path}/conf/trayagent)" in said
    assert f"({tmp_path}/past/trayagent)" in said
    assert "ssh -O" not in said
