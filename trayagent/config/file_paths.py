"""Find the paths of all files: the defaults in the user's documentation (table "Files"), or their overrides."""

from __future__ import annotations

import os
import pwd
import shlex
from collections.abc import Mapping
from pathlib import Path

import platformdirs
from msgspec import Struct

from trayagent.config import runtime_directory as folders
from trayagent.config.errors import UnsafeFolder

SYSTEM_SSH_CONFIG = Path("/etc/ssh/ssh_config")


class FilePaths(Struct, frozen=True):
    """The paths of all files. Creating this object creates no file; see `prepare`.

    `ssh` is a program's name or path. `ssh_config` is None if ssh reads its own files. `ssh_config_files`
    are the files that ssh reads first (it reads their Includes itself).
    """

    config_file: Path
    runtime_dir: Path
    ipc_socket: Path
    lock_file: Path
    state_dir: Path
    history_db: Path
    log_file: Path
    ssh: str
    ssh_config: Path | None
    ssh_config_files: tuple[Path, ...]
    ansible_cp: Path

    def master_log(self, pid: int) -> Path:
        """Return the file to which a master that the agent started writes its log."""
        return self.runtime_dir / f"master-{pid}.log"

    def attempt_log(self, number: int) -> Path:
        """Return the log file of this process's attempt with this number."""
        return self.runtime_dir / f"attempt-{os.getpid()}-{number}.log"

    @property
    def ssh_option_f(self) -> str | None:
        """The value of ssh's option -F, None if ssh reads its own files."""
        return str(self.ssh_config) if self.ssh_config is not None else None


def find(config: str | None = None, env: Mapping[str, str] = os.environ) -> FilePaths:
    """Return this user's paths; `config` is the value of --config, which overrides TRAYAGENT_CONFIG."""
    runtime = Path(folders.runtime_dir(env))
    state = _redirected(env, "TRAYAGENT_STATE_DIR") or platformdirs.user_state_path(folders.NAME, False)
    default = platformdirs.user_config_path(folders.NAME, False) / "config.toml"
    ssh_config = _redirected(env, "TRAYAGENT_SSH_CONFIG")
    return FilePaths(
        config_file=_absolute(config) if config else _redirected(env, "TRAYAGENT_CONFIG") or default,
        runtime_dir=runtime,
        ipc_socket=runtime / folders.SOCKET,
        lock_file=runtime / "agent.lock",
        state_dir=state,
        history_db=state / "history.sqlite",
        log_file=state / "agent.log",
        ssh=env.get("TRAYAGENT_SSH") or "ssh",
        ssh_config=ssh_config,
        ssh_config_files=(ssh_config,) if ssh_config else (_ssh_home() / "config", SYSTEM_SSH_CONFIG),
        ansible_cp=_ansible_cp(env),
    )


def unusual(config_file: Path) -> Path | None:
    """Return the configuration file if an agent started at login would not find it by default, else None."""
    at_login = {name: value for name, value in os.environ.items() if not name.startswith("TRAYAGENT_")}
    return config_file if config_file != find(env=at_login).config_file else None


def prepare(file_paths: FilePaths) -> None:
    """Create the runtime and the state directory with mode 0700, and check the files there; raises UnsafeFolder."""
    folders.make_private(str(file_paths.runtime_dir))
    folders.make_private(str(file_paths.state_dir), repair=True)
    for file in (
        file_paths.lock_file,
        file_paths.log_file,
        file_paths.history_db,
        *file_paths.state_dir.glob("agent*.json"),
    ):
        if file.exists() and not (file.is_file() or file.is_dir()):  # opening a FIFO would wait forever
            name = shlex.quote(str(file))
            raise UnsafeFolder(f"{file} is not a regular file.", hint=f"Move it away: mv {name} {name}.old")


def _absolute(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _redirected(env: Mapping[str, str], name: str) -> Path | None:
    return _absolute(env[name]) if env.get(name) else None


def _ssh_home() -> Path:
    """Return ~/.ssh as ssh finds it: from the password database, not from $HOME."""
    try:
        home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        home = Path.home()
    return home / ".ssh"


def _ansible_cp(env: Mapping[str, str]) -> Path:
    """Return the directory of Ansible's control sockets (its setting ssh_connection/control_path_dir)."""
    if chosen := _redirected(env, "ANSIBLE_SSH_CONTROL_PATH_DIR"):
        return chosen
    return (_redirected(env, "ANSIBLE_HOME") or Path.home() / ".ansible") / "cp"
