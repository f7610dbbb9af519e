from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from installers.linux import deb_parts

ROOT = Path(__file__).parents[2]
SITE = "usr/lib/trayagent/lib/site-packages"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def run(*words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project, and return its result."""
    return subprocess.run(
        words, env=os.environ | env, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package. Skip if the tools or the package index are missing, but not in CI."""
    for tool in ("dpkg-deb", "strip"):
        if shutil.which(tool) is None:
            assert not os.environ.get("CI"), f"{tool} is missing"
            pytest.skip(f"{tool} is missing")
    into = (
        tmp_path_factory.getbasetemp().parent
        / f"deb-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
    )
    into.mkdir(exist_ok=True)
    with (into / "lock").open("w") as lock:  # all test workers of one run share the package
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (built := list(into.glob("trayagent_*.deb"))):
            _build(into)
            built = list(into.glob("trayagent_*.deb"))
    [package] = built
    return package


def _build(into: Path) -> None:
    done = run("installers/linux/build-deb.sh", into, SOURCE_DATE_EPOCH="1767312000")
    if "No matching distribution" in done.stderr and not os.environ.get("CI"):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    assert f"sudo apt-get install {into}/trayagent_" in done.stderr


@pytest.fixture(scope="module")
def tree(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the package's unpacked files."""
    into = tmp_path_factory.mktemp("deb") / "tree"
    assert run("dpkg-deb", "--raw-extract", package, into).returncode == 0
    return into


@pytest.mark.slow
def test_the_package_declares_its_dependencies(tree: Path) -> None:
    """The package depends on the Pythons and the architecture of its compiled parts, and on Debian's packages."""
    control = (tree / "DEBIAN" / "control").read_text()
    depends = re.findall(r"^Depends: (.*)$", control, re.MULTILINE)[0]
    assert "python3 (>= 3.11), python3 (<< 3.15)" in depends
    assert "openssh-client" in depends
    assert all(name in depends for name in deb_parts.FROM_DEBIAN.values())
    assert re.search(r"^Architecture: (amd64|arm64)$", control, re.MULTILINE)


@pytest.mark.slow
def test_all_files_are_there(tree: Path) -> None:
    """The package has command, unit, manual page, completions, desktop file and icons.

    Only root may write to the files.
    """
    for path in (
        "usr/bin/trayagent",
        "usr/lib/systemd/user/trayagent.service",
        "usr/share/man/man1/trayagent.1.gz",
        "usr/share/bash-completion/completions/trayagent",
        "usr/share/zsh/vendor-completions/_trayagent",
        "usr/share/fish/vendor_completions.d/trayagent.fish",
        "usr/share/applications/trayagent.desktop",
        "usr/share/icons/hicolor/scalable/apps/trayagent.svg",
        "usr/share/icons/hicolor/48x48/apps/trayagent.png",
        "usr/share/icons/hicolor/symbolic/apps/trayagent-needs-you-symbolic.svg",
        "usr/share/doc/trayagent/copyright",
        "usr/share/doc/trayagent/examples/nm-dispatcher-mptcp",
    ):
        assert os.path.lexists(tree / path), path
    files = [path for path in (tree / "usr").rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in files if path.stat().st_mode & 0o022]
    assert not [path for path in files if path.suffix == ".pyc" or path.name == "RECORD"]
    assert os.access(tree / "usr/bin/trayagent", os.X_OK)
    assert os.access(tree / "usr/share/doc/trayagent/examples/nm-dispatcher-mptcp", os.X_OK)
    assert not (tree / "etc").exists()  # an administrator turns the script on
    unit = (tree / "usr/lib/systemd/user/trayagent.service").read_text()
    assert "\nExecStart=/usr/bin/trayagent run\n" in unit
    assert "trayagent uninstall" not in unit


@pytest.mark.slow
def test_the_package_contains_what_debian_lacks(tree: Path) -> None:
    """Each dependency is either in the package or from Debian, and the licences are listed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [name for name in project["dependencies"] if "darwin" not in name]
    wanted = {re.split(r"[=;<>]", name)[0] for name in needed}
    carried = {path.name.split("-")[0].replace("_", "-") for path in (tree / SITE).glob("*.dist-info")}
    assert carried | set(deb_parts.FROM_DEBIAN) == wanted | {"trayagent"}
    assert not carried & set(deb_parts.FROM_DEBIAN)
    told = (tree / "usr/share/doc/trayagent/copyright").read_text()
    for folder in (tree / SITE).iterdir():
        if folder.is_dir() and folder.suffix != ".dist-info" and folder.name != "trayagent":
            assert f"/*/{folder.name}" in told, folder.name


@pytest.mark.slow
def test_each_python_finds_its_compiled_parts(tree: Path) -> None:
    """The directory of each Python is the same directory, which has each compiled part once for each Python."""
    parts: dict[str, set[str]] = {}
    for path in (tree / SITE).rglob("*.so"):
        name, tag, _ = path.name.split(".")
        parts.setdefault(tag.split("-")[1], set()).add(str(path.relative_to(tree / SITE).with_name(name)))
    assert set(parts) == {version.replace(".", "") for version in PYTHONS}
    assert all(names == parts["311"] for names in parts.values())
    for version in PYTHONS:
        assert (tree / SITE).samefile(tree / f"usr/lib/trayagent/lib/python{version}/site-packages")


@pytest.mark.slow
@pytest.mark.skipif(
    "{}.{}".format(*sys.version_info) not in PYTHONS, reason="it has no compiled parts for this Python"
)
def test_the_program_in_it_starts(tree: Path) -> None:
    """The packaged program starts. The tests' Python runs it with the package's directory first in its path."""
    done = run(sys.executable, "-P", "-m", "trayagent", "--version", PYTHONPATH=str(tree / SITE))
    assert done.stdout.startswith("trayagent "), done.stderr
    code = "import dbus_fast, msgspec, netifaces, trayagent as t; print(t.__file__, msgspec.__file__)"
    done = run(sys.executable, "-P", "-c", code, PYTHONPATH=str(tree / SITE))
    assert done.stdout.count(str(tree)) == 2, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("lintian") is None, reason="lintian is not installed; `make fresh` runs it")
def test_lintian_reports_nothing(package: Path, tmp_path: Path) -> None:
    """Lintian reports no errors and no warnings, and each override has a reason."""
    done = run("lintian", "--fail-on", "error,warning", "--allow-root", package, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout
    overrides = (ROOT / "installers" / "linux" / "lintian-overrides").read_text().split("\n\n")
    assert all(part.startswith("# ") for part in overrides if part.strip())
