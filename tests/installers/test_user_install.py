from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from installers import user_install
from trayagent.desktop.icon.icon_theme import installed

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "installers" / "linux" / "install.sh"
MAC_SCRIPT = ROOT / "installers" / "macos" / "install.sh"
DEADLINE_S = 240.0

Done = subprocess.CompletedProcess[str]


class User:
    """A user with a separate home directory, who runs the scripts."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.command = home / ".local" / "bin" / "trayagent"
        self.root = home / ".local" / "share" / "trayagent"
        kept = ("PATH", "LANG", "CI")
        passed = {k: v for k, v in os.environ.items() if k in kept or k.startswith(("PIP_", "SSL_"))}
        # Use the base interpreter, because a virtual environment inside another one would differ.
        self.env = passed | {"HOME": str(home), "PYTHON": os.path.realpath(sys.executable)}
        self.env["PATH"] = f"{self.command.parent}:{self.env['PATH']}"
        # an empty directory, so that no service manager is found
        self.env["XDG_RUNTIME_DIR"] = str(home / "run")
        (home / "run").mkdir(mode=0o700)

    def run(self, *words: str | Path, **env: str) -> Done:
        """Run a command as this user."""
        return subprocess.run(
            words, env=self.env | env, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )

    def environments(self) -> list[str]:
        """Return the names of all environments."""
        return [path.name for path in sorted(self.root.glob("venv-*"))]


@pytest.fixture
def user(tmp_path: Path) -> User:
    """Return a user with a fresh home. Its path is short, because a control path must fit."""
    return User(tmp_path)


def until(true: Callable[[], object]) -> None:
    """Wait until the condition is true."""
    limit = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.slow
def test_the_life_of_an_installation(user: User, offline: Mapping[str, str]) -> None:
    """An installation is interrupted, completed, used, upgraded while the agent runs, and removed completely."""
    user.env |= offline
    interrupted = subprocess.Popen(
        [SCRIPT], env=user.env, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(lambda: (user.root / "venv-1" / "bin").exists() or interrupted.poll() is not None)
    os.killpg(interrupted.pid, signal.SIGKILL)
    interrupted.wait()
    assert not user.command.exists()

    done = user.run(SCRIPT)
    assert done.returncode == 0, done.stderr
    assert user.environments() == ["venv-1"]
    assert "is installed." in done.stdout
    assert "--uninstall" in done.stdout
    assert "not on your PATH" not in done.stdout
    assert user.run(user.command, "--version").stdout.startswith("trayagent ")
    entry = user.home / ".config" / "autostart" / "trayagent.desktop"
    assert f"Exec={user.command} run" in entry.read_text()
    _extras_are_found(user)

    entry.unlink()  # the user switches it off, and an upgrade keeps that
    agent = subprocess.Popen([user.command, "run", "--no-tray"], env=user.env)
    try:
        until(lambda: user.run(user.command, "status").returncode == 0)
        theme = user.root.parent / "icons" / "hicolor"
        os.utime(theme, (1000, 1000))
        done = user.run(SCRIPT)
        assert theme.stat().st_mtime > 1000, "panels read the icons again"
        assert done.returncode == 0, done.stderr
        assert "in place of" in done.stdout
        assert "trayagent stop && trayagent run" in done.stdout
        assert user.environments() == ["venv-1", "venv-2"]
        assert user.command.resolve().is_relative_to(user.root / "venv-2")
        assert user.run(user.command, "status").returncode == 0
        assert not entry.exists()
    finally:
        removed = user.run(SCRIPT, "--uninstall")
        agent.terminate()
        assert agent.wait(DEADLINE_S) == 0
    assert removed.returncode == 0, removed.stderr
    assert [path for path in user.home.rglob("*trayagent*") if path.is_file() or path.is_symlink()] == []
    assert not user.root.exists()
    assert "not installed" in user.run(SCRIPT, "--uninstall").stdout


def _extras_are_found(user: User) -> None:
    """Check that man and the shells find the manual page and the completions."""
    if shutil.which("man"):
        assert user.run("man", "--where", "trayagent").stdout.strip().endswith("man1/trayagent.1")
    if shutil.which("fish"):
        offers = user.run("fish", "-c", "complete -C 'trayagent unin'")
        assert "uninstall\t" in offers.stdout
    for kind in ("bash-completion/completions/trayagent", "zsh/site-functions/_trayagent"):
        assert (user.root.parent / kind).is_file()
    entry = (user.root.parent / "applications" / "trayagent.desktop").read_text()
    assert f"\nExec={user.command} run\nIcon=trayagent\n" in entry
    assert (user.root.parent / "icons/hicolor/scalable/apps/trayagent.svg").is_file()
    assert installed({"HOME": str(user.home), "XDG_DATA_DIRS": "/nowhere"}), (
        "the agent finds its icons in the theme"
    )


@pytest.mark.slow
def test_a_failed_upgrade_leaves_the_old_version(user: User) -> None:
    """Without a package index the new environment is removed, and the error names the reason."""
    done = user.run(SCRIPT, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert done.returncode == 1
    assert "package index" in done.stderr
    assert user.environments() == []
    assert "Traceback" not in done.stderr


def without(tmp_path: Path, *missing: str) -> str:
    """Return a PATH with the usual programs except some."""
    folder = tmp_path / "few"
    folder.mkdir()
    for name in ("bash", "dirname", "uname", "sed", "ssh", "python3", "apt-get"):
        found = shutil.which(name)
        if found and name not in missing:
            (folder / name).symlink_to(found)
    return str(folder)


def test_an_upgrade_writes_the_unit_of_an_older_version_again(user: User) -> None:
    """An upgrade runs the new program for that, but only if the start at login is on."""
    to = user_install.places({"HOME": str(user.home)})
    to.command.parent.mkdir(parents=True)
    to.command.write_text('#!/bin/sh\necho "$@" >>"$0.calls"\n')
    to.command.chmod(0o755)
    to.root.mkdir(parents=True)
    (to.root / "login-is-settled").touch()
    user_install._start_at_login(to, login=True)
    unit = user.home / ".config/systemd/user/trayagent.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\n")  # the user's own
    user_install._start_at_login(to, login=True)
    calls = to.command.with_name("trayagent.calls")
    assert not calls.exists()
    unit.write_bytes(b"# " + user_install.LOGIN_MARK)
    user_install._start_at_login(to, login=True)
    assert calls.read_text() == "install --refresh\n"


def test_without_ssh_the_error_says_what_to_install(user: User, tmp_path: Path) -> None:
    """Without ssh, the script installs no file, and the error names the package to install."""
    done = user.run(SCRIPT, PATH=without(tmp_path, "ssh"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "ssh is missing" in done.stderr
    assert "openssh-client" in done.stderr or "OpenSSH's client" in done.stderr
    assert not user.root.exists()


def test_without_venv_it_names_the_package(user: User, tmp_path: Path) -> None:
    """Without venv (Debian's python3 without python3-venv), the error names the package."""
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = user.run(SCRIPT, PYTHON=str(python))
    assert done.returncode == 1
    assert f"python3.{sys.version_info.minor}-venv" in done.stderr or "package manager" in done.stderr


def test_without_a_python_that_is_new_enough_it_says_which(user: User, tmp_path: Path) -> None:
    """Without a Python that is new enough, the script fails, and the error contains the required version."""
    done = user.run(SCRIPT, PATH=without(tmp_path, "python3"), PYTHON="")
    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr


def test_a_foreign_command_is_left_alone(user: User) -> None:
    """A file of the same name that this installer did not make stays."""
    user.command.parent.mkdir(parents=True)
    user.command.write_text("mine")
    done = user.run(SCRIPT)
    assert done.returncode == 1
    assert f"{user.command} was not made by this installer" in done.stderr
    assert user.command.read_text() == "mine"
    assert "not installed" in user.run(SCRIPT, "--uninstall").stdout
    assert user.command.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have come by sudo")
def test_sudo_is_refused(user: User) -> None:
    """The script refuses to run under sudo, because it would install for root."""
    done = user.run(SCRIPT, SUDO_USER="somebody")
    assert done.returncode == 1
    assert "without sudo" in done.stderr


def test_two_at_once_do_not_disturb_each_other(user: User) -> None:
    """A second run at the same time fails and reports the first run."""
    to = user_install.places(user.env)
    with user_install._alone(to.root):
        done = user.run(SCRIPT)
    assert done.returncode == 1
    assert "Another installation" in done.stderr


@pytest.mark.parametrize("script", [SCRIPT, MAC_SCRIPT])
def test_help_shows_install_and_uninstall(user: User, script: Path) -> None:
    """The help shows how to install and how to remove the program."""
    done = user.run(script, "--help")
    assert done.returncode == 0
    assert "--uninstall" in done.stdout
    assert "#" not in done.stdout


def test_each_system_has_its_own_script(user: User) -> None:
    """On the wrong system, each script names the right script."""
    assert "installers/linux/install.sh" in user.run(MAC_SCRIPT).stderr


def fake_program(folder: Path, name: str, script: str) -> None:
    """Create a script in place of a program."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_the_mac_script_starts_the_same_installation(user: User, tmp_path: Path) -> None:
    """The script finds its Python and reaches the common part, which checks the command first.

    The rest can be tested only on a Mac.
    """
    fake_program(tmp_path / "mac", "uname", "echo Darwin")
    user.command.parent.mkdir(parents=True)
    user.command.write_text("mine")
    path = f"{tmp_path / 'mac'}:{user.env['PATH']}"
    assert "not made by this installer" in user.run(MAC_SCRIPT, PATH=path).stderr
    assert "installers/macos/install.sh" in user.run(SCRIPT, PATH=path).stderr


@pytest.mark.parametrize(
    ("platform", "program", "asked"),
    [
        ("darwin", "launchctl", f"kickstart -k gui/{os.getuid()}/trayagent\n"),
        ("linux", "systemctl", "--user is-active trayagent.service\n--user restart trayagent.service\n"),
    ],
)
def test_an_agent_of_the_service_manager_is_restarted_by_it(
    platform: str, program: str, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service manager that started the agent restarts it. A fake manager records its calls."""
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not user_install._restart_unit()
    fake_program(tmp_path, program, f'echo "$@" >>{tmp_path / "asked"}')
    assert user_install._restart_unit()
    assert (tmp_path / "asked").read_text() == asked


def test_environments_of_the_fleet_do_not_count(user: User) -> None:
    """Environments of the Ansible role are ignored. They are in the same folder, with checksums as names."""
    to = user_install.places(user.env)
    for name in ("venv-0123456789ab", "venv-2", "venv-10"):
        (to.root / name).mkdir(parents=True)
    assert user_install._next_number(to) == 11


def test_commands_to_type_are_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed commands are quoted. The paths of the clone and of the completions contain a space."""
    monkeypatch.setattr(user_install, "SOURCE", Path("/my clones/trayagent"))
    monkeypatch.setattr(user_install, "_build", lambda fresh: fresh.mkdir(parents=True))
    monkeypatch.setattr(user_install, "_extras", lambda *_: defaultdict(bytes))
    data = tmp_path / "my data"
    to = user_install.places({"HOME": str(tmp_path), "XDG_DATA_HOME": str(data)})
    user_install.install(to, login=False)
    said = capsys.readouterr().out
    assert f"fpath=('{data}/zsh/site-functions' $fpath)" in said
    assert "'/my clones/trayagent/installers/" in said
