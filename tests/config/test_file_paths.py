from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from trayagent.config import file_paths
from trayagent.config import runtime_directory as folders
from trayagent.config.errors import ConfigError, UnsafeFolder
from trayagent.config.load_file import load


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_path_can_be_redirected(tmp_path: Path) -> None:
    """With redirections, a test or a second agent never touches the user's own files."""
    env = {
        "TRAYAGENT_CONFIG": str(tmp_path / "c.toml"),
        "TRAYAGENT_RUNTIME_DIR": str(tmp_path / "run"),
        "TRAYAGENT_STATE_DIR": str(tmp_path / "state"),
        "TRAYAGENT_SSH_CONFIG": str(tmp_path / "ssh_config"),
        "TRAYAGENT_SSH": "/opt/ssh",
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
    }
    found = file_paths.find(env=env)
    assert found == file_paths.FilePaths(
        config_file=tmp_path / "c.toml",
        runtime_dir=tmp_path / "run",
        ipc_socket=tmp_path / "run" / "agent.sock",
        lock_file=tmp_path / "run" / "agent.lock",
        state_dir=tmp_path / "state",
        history_db=tmp_path / "state" / "history.sqlite",
        log_file=tmp_path / "state" / "agent.log",
        ssh="/opt/ssh",
        ssh_config=tmp_path / "ssh_config",
        ssh_config_files=(tmp_path / "ssh_config",),
        ansible_cp=tmp_path / "ansible" / "cp",
    )
    assert file_paths.find("/other.toml", env).config_file == Path("/other.toml")
    assert folders.ipc_socket(env) == str(found.ipc_socket)
    assert list(tmp_path.iterdir()) == []


def test_without_redirects_the_paths_are_the_documented_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The defaults are the desktop's directories, and ssh's own files from the password database."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    found = file_paths.find(env={})
    assert found.config_file == tmp_path / ".config/trayagent/config.toml"
    assert found.history_db == tmp_path / ".local/state/trayagent/history.sqlite"
    assert (found.ssh, found.ssh_config) == ("ssh", None)
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert found.ssh_config_files == (home / ".ssh/config", Path("/etc/ssh/ssh_config"))
    assert found.ansible_cp == tmp_path / ".ansible/cp"


def test_a_relative_path_starts_at_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The agent may change its working directory; the paths stay."""
    monkeypatch.chdir(tmp_path)
    found = file_paths.find(
        "c.toml", {"TRAYAGENT_STATE_DIR": "s", "TRAYAGENT_RUNTIME_DIR": "~/r", "HOME": "/h"}
    )
    assert (found.config_file, found.state_dir) == (tmp_path / "c.toml", tmp_path / "s")
    assert found.runtime_dir == Path("~/r").expanduser()


def test_the_runtime_folder_is_in_the_sessions(tmp_path: Path) -> None:
    """XDG_RUNTIME_DIR is used if it belongs to this user."""
    assert folders.runtime_dir({"XDG_RUNTIME_DIR": str(tmp_path)}) == str(tmp_path / "trayagent")


@pytest.mark.parametrize("wrong", ["", "relative", "/nonexistent", "/etc/passwd"])
def test_an_unusable_session_directory_is_skipped(wrong: str) -> None:
    """With an unusable XDG_RUNTIME_DIR, as after `su`, the agent and its clients use the same fallback."""
    uid = os.geteuid()
    expected = {f"/run/user/{uid}/trayagent", f"/tmp/trayagent-{uid}"}  # noqa: S108  # the documented fallback
    assert folders.runtime_dir({"XDG_RUNTIME_DIR": wrong}) in expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_session_directory_is_skipped(tmp_path: Path) -> None:
    """`sudo -E` must not create root's files in the user's directory."""
    os.chown(tmp_path, 65534, 65534)
    assert not folders.runtime_dir({"XDG_RUNTIME_DIR": str(tmp_path)}).startswith(str(tmp_path))


def test_the_folders_are_made_for_this_user_alone(tmp_path: Path) -> None:
    """The directories get mode 0700 whatever the umask, and a second call does no harm."""
    env = {
        "TRAYAGENT_RUNTIME_DIR": str(tmp_path / "a" / "run"),
        "TRAYAGENT_STATE_DIR": str(tmp_path / "b" / "state"),
    }
    found = file_paths.find(env=env)
    file_paths.prepare(found)
    file_paths.prepare(found)
    assert mode(found.runtime_dir) == mode(found.state_dir) == 0o700


def test_an_open_runtime_folder_is_refused_an_open_state_folder_closed(tmp_path: Path) -> None:
    """Others may have put a socket into the runtime directory; the state directory needs only a new mode."""
    run, state = tmp_path / "run", tmp_path / "state"
    for folder in (run, state):
        folder.mkdir()
        folder.chmod(0o750)
    with pytest.raises(UnsafeFolder, match="open to other users") as caught:
        folders.make_private(str(run))
    assert caught.value.hint == f"Close it: chmod 700 {run}"
    odd = run.rename(tmp_path / "my run")
    with pytest.raises(UnsafeFolder) as caught:
        folders.make_private(str(odd))
    assert caught.value.hint == f"Close it: chmod 700 '{odd}'"
    folders.make_private(str(state), repair=True)
    assert mode(state) == 0o700


def test_a_link_or_a_file_is_no_runtime_folder(tmp_path: Path) -> None:
    """Anyone could have created a link in /tmp, but the state directory may be the user's own link."""
    real, link, file = tmp_path / "real", tmp_path / "link", tmp_path / "file"
    real.mkdir(mode=0o700)
    link.symlink_to(real)
    file.touch()
    for path in (link, file):
        with pytest.raises(UnsafeFolder, match="not a directory"):
            folders.make_private(str(path))
    folders.make_private(str(link), repair=True)
    with pytest.raises(UnsafeFolder, match="cannot be created"):
        folders.make_private(str(file / "below"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_refused(tmp_path: Path) -> None:
    """A runtime directory of another user is rejected, because its owner could read and replace the files."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    for repair in (False, True):
        with pytest.raises(UnsafeFolder, match="belongs to another user"):
            folders.make_private(str(folder), repair=repair)


def test_the_command_that_closes_a_configuration_can_be_pasted(tmp_path: Path) -> None:
    """In the command that closes the configuration's permissions, a path with a space is quoted."""
    path = tmp_path / "my config.toml"
    path.touch()
    path.chmod(0o602)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.hint == f"Remove that right: chmod go-w '{path}'"


@pytest.mark.parametrize("name", ["agent.log", "history.sqlite", "agent-x.json", "agent.lock"])
def test_a_fifo_in_the_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    """A FIFO in place of a file is rejected, because opening it would block.

    The message names it and explains what to do.
    """
    env = {
        "TRAYAGENT_RUNTIME_DIR": str(tmp_path / "my run"),
        "TRAYAGENT_STATE_DIR": str(tmp_path / "my state"),
    }
    found = file_paths.find(env=env)
    file_paths.prepare(found)
    fifo = (found.runtime_dir if name == "agent.lock" else found.state_dir) / name
    os.mkfifo(fifo)
    with pytest.raises(UnsafeFolder) as caught:
        file_paths.prepare(found)
    assert str(fifo) in caught.value.title
    assert caught.value.hint == f"Move it away: mv '{fifo}' '{fifo}'.old"
    fifo.unlink()
    fifo.touch()
    file_paths.prepare(found)
