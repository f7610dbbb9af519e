"""Installs, upgrades or removes trayagent for one user; the install.sh of each system calls it.

Each version gets its own virtual environment, built beside the one in use. Then one atomic step points a link
at the new environment. So after any interruption, either the old or the new program is complete. This script
uses only the standard library, because it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = "trayagent"
SOURCE = Path(__file__).resolve().parents[1]
DONE = "installed-whole"
"""The file that marks a complete environment. Without it, the installation was interrupted."""
MARK = b"trayagent"
LOGIN_MARK = b"Written by `trayagent install`; `trayagent uninstall` removes it."
NO_AGENT = 3  # exit status of a command that found no agent
PATIENCE_S = 30.0


class InstallError(Exception):
    """The installation cannot continue. The text contains the reason and how to fix it."""


@dataclass(frozen=True)
class FilePaths:
    """All paths of one user. On macOS the root is the same as on Linux, because ~/Library/… contains a space."""

    root: Path
    command: Path
    extras: Mapping[str, Path]
    login: tuple[Path, ...]
    config: Path
    state: Path

    @property
    def current(self) -> Path:
        """The link to the environment in use."""
        return self.root / "current"

    @property
    def program(self) -> Path:
        """The target of the command's link."""
        return self.current / "bin" / NAME

    def environments(self) -> list[Path]:
        """Return all environments, complete or not."""
        return sorted(self.root.glob("venv-*"))


def places(env: Mapping[str, str] = os.environ) -> FilePaths:
    """Return the paths of this user."""
    home = Path(env.get("HOME") or Path.home())
    mac = home / "Library" / "Application Support" if sys.platform == "darwin" else None
    data = _folder(env, "XDG_DATA_HOME", home / ".local" / "share")
    config = _folder(env, "XDG_CONFIG_HOME", mac or home / ".config")
    state = _folder(env, "XDG_STATE_HOME", mac or home / ".local" / "state")
    extras = {
        "manual": data / "man" / "man1" / f"{NAME}.1",
        "bash": data / "bash-completion" / "completions" / NAME,
        "zsh": data / "zsh" / "site-functions" / f"_{NAME}",
        "fish": data / "fish" / "vendor_completions.d" / f"{NAME}.fish",
    }
    if sys.platform != "darwin":
        icons = data / "icons" / "hicolor"
        extras["desktop"] = data / "applications" / f"{NAME}.desktop"
        extras["icon"] = icons / "scalable" / "apps" / f"{NAME}.svg"
        extras |= {path.stem: icons / "symbolic" / "apps" / path.name for path in _symbolic_icons()}
    unit = config / "systemd" / "user" / f"{NAME}.service"
    wanted = unit.parent / "default.target.wants" / unit.name
    entry = config / "autostart" / f"{NAME}.desktop"
    plist = home / "Library" / "LaunchAgents" / f"{NAME}.plist"
    command, login = home / ".local" / "bin" / NAME, (wanted, unit, entry, plist)
    return FilePaths(data / NAME, command, extras, login, config / NAME, state / NAME)


def _symbolic_icons() -> list[Path]:
    """Return the icons of the states, which panels draw in their own colour."""
    return sorted((SOURCE / "assets" / "icons").glob("*-symbolic.svg"))


def _folder(env: Mapping[str, str], name: str, usual: Path) -> Path:
    chosen = Path(env.get(name, ""))
    return chosen if chosen.is_absolute() else usual


def install(to: FilePaths, *, login: bool) -> None:
    """Install or upgrade. Raises InstallError."""
    _refuse_foreign_command(to)
    for path in to.environments():
        if not (path / DONE).exists():
            shutil.rmtree(path)  # an interrupted run left this environment
    before = _version(to.program)
    fresh = to.root / f"venv-{_next_number(to)}"
    try:
        _build(fresh)
        contents = _extras(fresh, to.command)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _link(to.current, Path(fresh.name))
    _link(to.command, to.program)
    for kind, path in to.extras.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[kind])
    _tell_icon_readers(to)
    _say(f"{NAME} {_version(to.program)} is installed" + (f" in place of {before}." if before else "."))
    _say(f"  command      {to.command}")
    _say(f"  program      {fresh}, an environment of its own")
    _say(f"  manual       man {NAME}")
    _say("  completions  bash and fish in new shells; zsh with this in ~/.zshrc, before compinit:")
    _say(f"               fpath=({shlex.quote(str(to.extras['zsh'].parent))} $fpath)")
    script = SOURCE / "installers" / ("macos" if sys.platform == "darwin" else "linux") / "install.sh"
    _say(f"  undo         {shlex.quote(str(script))} --uninstall")
    _start_at_login(to, login=login)
    _restart_agent(to, fresh)
    if str(to.command.parent) not in os.environ.get("PATH", "").split(os.pathsep):
        _say(f"{to.command.parent} is not on your PATH. Log in again, or add it:")
        _say(f'  export PATH="{to.command.parent}:$PATH"')
    if before is None:
        unit = any(path.suffix == ".service" and path.exists() for path in to.login)
        _say(f"Now: {NAME} init, and {f'systemctl --user start {NAME}' if unit else f'{NAME} run'}")


def uninstall(to: FilePaths, *, masters: bool = False) -> None:
    """Remove what `install` created. Configuration and history stay. Raises InstallError.

    With `masters`, the running agent ends the masters that it started. Without it, they stay.
    """
    if not os.path.lexists(to.root) and not _is_ours(to.command):
        _say(f"{NAME} is not installed for this user.")
        return
    if _version(to.program):  # a system upgrade may have removed the environment's Python
        _run(to.program, "uninstall")
        if _run(to.program, "status", "--json", quiet=True) != NO_AGENT:
            _run(to.program, "stop", *(["--masters"] if masters else []))
    marked = [(path, LOGIN_MARK) for path in to.login] + [(path, MARK) for path in to.extras.values()]
    removed = [path for path, mark in marked if path.is_file() and mark in path.read_bytes()]
    removed += [to.command] if _is_ours(to.command) else []
    for path in removed:
        path.unlink()
    if os.path.lexists(to.root):
        shutil.rmtree(to.root)
        removed.insert(0, to.root)
    _say("\n  ".join(["Removed:", *map(str, removed)]))
    _say(f"Your configuration ({to.config}) and history ({to.state}) stay.")
    if not masters:
        _say("Running connections stay, too. To end one, kill its ssh: ps x | grep ssh")


def _refuse_foreign_command(to: FilePaths) -> None:
    if os.geteuid() == 0 and os.environ.get("SUDO_USER"):
        raise InstallError("This installs for one user: run it as yourself, without sudo.")
    if os.path.lexists(to.command) and not _is_ours(to.command):
        raise InstallError(f"{to.command} was not made by this installer, so it stays.\n"
                     "  Remove or rename it, if you do not need it.")  # fmt: skip


def _is_ours(command: Path) -> bool:
    """Report whether the command is a link into one of trayagent's environments."""
    return command.is_symlink() and command.readlink().parts[-4:] == (NAME, "current", "bin", NAME)


def _next_number(to: FilePaths) -> int:
    rests = [path.name.removeprefix("venv-") for path in to.environments()]
    # The Ansible role's environments in the same folder have no numbers.
    return max((int(rest) for rest in rests if rest.isdecimal()), default=0) + 1


def _build(fresh: Path) -> None:
    """Create the environment, and check that the program in it starts."""
    subprocess.run([sys.executable, "-m", "venv", str(fresh)], check=True)
    python = fresh / "bin" / "python"
    words = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install", str(SOURCE)]
    done = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        lines = done.stderr.splitlines()
        last = [line for line in lines if line.startswith("ERROR")] or lines
        raise InstallError("pip could not install it. The previous version is unchanged.\n  "
                     + "\n  ".join(last[-3:])
                     + "\n  It needs the package index once: try again when you are online.")  # fmt: skip
    if _version(fresh / "bin" / NAME) is None:
        raise InstallError(f"The new program does not start: {fresh / 'bin' / NAME} --version")
    (fresh / DONE).touch()


def _version(program: Path) -> str | None:
    """Return the version of an installed program, or None if there is no working program."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        words = [str(program), "--version"]
        said = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout
        return said.split()[-1]
    return None


def _link(path: Path, target: Path) -> None:
    """Point a link at the target, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(path)


def _tell_icon_readers(to: FilePaths) -> None:
    """Change the time of the icon theme's directory, so that panels read it again.

    Otherwise they use its icon-theme.cache, which lacks the new icons, and show a placeholder. Source: Icon Theme
    Specification, *Installing Application Icons*.
    """
    if (icon := to.extras.get("icon")) is not None:
        os.utime(icon.parents[2])


def _extras(fresh: Path, command: Path) -> dict[str, bytes]:
    """Return the manual page, the completions, the desktop file and the icons that the new program brings."""
    share = fresh / "share"
    sources = {
        "manual": share / "man" / "man1" / f"{NAME}.1",
        "bash": share / "bash-completion" / "completions" / NAME,
        "zsh": share / "zsh" / "site-functions" / f"_{NAME}",
        "fish": share / "fish" / "vendor_completions.d" / f"{NAME}.fish",
        "desktop": share / "applications" / f"{NAME}.desktop",
        "icon": share / "icons" / "hicolor" / "scalable" / "apps" / f"{NAME}.svg",
    }
    sources |= {path.stem: path for path in (share / "icons" / "hicolor" / "symbolic" / "apps").iterdir()}
    contents = {kind: path.read_bytes() for kind, path in sources.items()}
    here = f"Exec={_quoted(command)} run".encode()
    return contents | {"desktop": contents["desktop"].replace(f"Exec={NAME} run".encode(), here)}


def _quoted(path: Path) -> str:
    """Return a path for the key Exec. Source: Desktop Entry Specification, *The Exec key*."""
    text = str(path).replace("%", "%%")
    if re.fullmatch(r"[\w/.%+-]+", text):
        return text
    # The value is unescaped as a string before it is split into words, so each backslash is written twice.
    return '"' + re.sub(r'(["`$\\])', r"\\\1", text).replace("\\", "\\\\") + '"'


def _start_at_login(to: FilePaths, *, login: bool) -> None:
    """Enable the start at login at the first installation. An upgrade keeps the user's current setting."""
    settled = to.root / "login-is-settled"
    if settled.exists():
        if any(LOGIN_MARK in path.read_bytes() for path in to.login if path.is_file()):
            _run(to.command, "install", "--refresh")  # the new version may need another unit
        return
    if login and _run(to.command, "install"):
        _say(f"It does not start at login yet. When you have fixed that, run: {NAME} install")
    elif not login:
        _say(f"It does not start at login. To enable that: {NAME} install")
    settled.touch()


def _restart_agent(to: FilePaths, fresh: Path) -> None:
    """Restart a running agent in the new version. The old environment stays as long as a running agent needs it."""
    old = [path for path in to.environments() if path != fresh]
    if old and _run(to.program, "status", "--json", quiet=True) != NO_AGENT:
        if not _restart_unit():
            _say(
                f"An agent of the old version is still running. To switch to the new one: {NAME} stop && {NAME} run"
            )
            return
        _say("The agent was restarted in the new version. The masters stayed.")
    for path in old:
        shutil.rmtree(path)


def _restart_unit() -> bool:
    """Restart the agent through its service manager. Report whether a service manager had started the agent."""
    unit = f"{NAME}.service"
    if sys.platform == "darwin":
        steps = [["launchctl", "kickstart", "-k", f"gui/{os.getuid()}/{NAME}"]]
    else:
        steps = [["systemctl", "--user", "is-active", unit], ["systemctl", "--user", "restart", unit]]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        for words in steps:
            subprocess.run(words, capture_output=True, timeout=PATIENCE_S, check=True)
        return True
    return False


def _run(program: Path, *words: str, quiet: bool = False) -> int:
    """Run a command of the installed program and return its exit status. Its output is shown, unless `quiet`."""
    sys.stdout.flush()
    aside = subprocess.DEVNULL if quiet else None
    return subprocess.run([str(program), *words], stdout=aside, stderr=aside, check=False).returncode


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold a lock against other runs of this script. Raises InstallError if another run holds it."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with (root.parent / f".{NAME}-install.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InstallError("Another installation is running. Wait until it has ended.") from None
        try:
            yield
        finally:
            Path(lock.name).unlink()


def main() -> int:
    """Carry out the command line. Return 0 if done, 1 if it failed, 130 if it was interrupted."""
    parser = argparse.ArgumentParser(prog="install.sh", allow_abbrev=False)
    parser.add_argument("--uninstall", action="store_true", help="remove what was installed")
    parser.add_argument(
        "--masters", action="store_true", help="with --uninstall: also end the masters that the agent started"
    )
    parser.add_argument("--no-login", action="store_true", help="do not start it at login")
    args = parser.parse_args()
    to = places()
    try:
        with _alone(to.root):
            if args.uninstall:
                uninstall(to, masters=args.masters)
            else:
                install(to, login=not args.no_login)
    except InstallError as error:
        sys.stderr.write(f"install.sh: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("install.sh: interrupted. Run it again to complete it.\n")
        return 130
    except (OSError, subprocess.CalledProcessError) as error:
        again = "Fix this and run it again to complete the installation."
        sys.stderr.write(f"install.sh: {error}\n  {again}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
