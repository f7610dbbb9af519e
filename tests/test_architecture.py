"""The packages import only what the table allows."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "trayagent"

# A package may import itself, the top-level modules (errors, exit statuses, keys, the version, `own_module`), and the
# packages listed here.
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "config": {"core"},
    "ssh.mux": set(),
    "ssh": {"core", "ssh.mux", "netlink"},
    "net": {"core", "netlink"},
    "desktop": {"core", "ipc", "presentation"},
    "ipc": {"core"},
    "netlink": set(),
    "presentation": set(),
    "history": {"core", "presentation"},
    "status_page": {"core", "history", "presentation"},
    "init": {"core", "config", "ssh", "presentation"},
    "roaming": set(),
    "sandbox": {"config", "ipc", "roaming"},
    "cli": {"ipc", "config", "presentation"},
    "attach": {"ipc", "config", "presentation"},
    "doctor": {
        "core",
        "config",
        "ssh",
        "ssh.mux",
        "net",
        "netlink",
        "desktop",
        "ipc",
        "history",
        "presentation",
    },
    "agent": {
        "roaming",
        "core",
        "config",
        "ssh",
        "ssh.mux",
        "net",
        "netlink",
        "desktop",
        "ipc",
        "history",
        "presentation",
    },
}

# A front is a command that starts another package. It imports that package inside a function.
FRONTS: dict[tuple[str, str], str] = {
    ("cli/run.py", "agent"): "`run` is the agent in the foreground",
    ("cli/doctor.py", "doctor"): "`doctor` checks what the agent needs, without one",
    ("cli/demo.py", "sandbox"): "`demo` shows the agent in the laboratory",
    ("cli/init.py", "init"): "`init` makes the first configuration, before there is an agent",
    ("cli/main.py", "desktop"): "an error names the command that starts the agent",
    ("cli/install.py", "desktop"): "`install` and `uninstall` start the agent at login, or no longer",
    ("cli/shell_completion.py", "ssh"): "`complete` offers the names of ssh_config and what runs on a host",
    ("cli/keep.py", "ssh"): "`keep` checks that ssh_config has the host, also without an agent",
    ("cli/attach.py", "attach"): "`attach` is the terminal itself",
    ("cli/login.py", "attach"): "`login` runs ssh at the terminal",
    ("cli/history.py", "history"): "`history` reads the log without an agent",
    ("cli/status_html.py", "history"): "the page of `status --html` shows outages",
    ("cli/status_html.py", "status_page"): "`status --html` writes the page",
}

# The core and the mux protocol are pure: they do no I/O.
NO_IO = {"asyncio", "logging", "os", "pathlib", "random", "select", "shutil", "signal", "socket", "sqlite3",
         "subprocess", "tempfile", "threading", "time"}  # fmt: skip


def package_of(module: str) -> str:
    """Return the package of a dotted module, or "" for a top-level module."""
    parts = module.split(".")[1:]
    if parts[:2] == ["ssh", "mux"]:
        return "ssh.mux"
    return parts[0] if parts else ""


def imports(path: Path) -> list[tuple[str, bool]]:
    """Return (module, whether the import is at the top level) for each import of a file."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # in `from trayagent import errors`, the imported name is the module
            listed = [f"{node.module}.{alias.name}" for alias in node.names]
            names = {name if _is_module(name) else node.module for name in listed}
            found += [(name, id(node) in top) for name in sorted(names)]
    return found


def _is_module(name: str) -> bool:
    path = ROOT.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_package_imports_only_what_the_table_allows(path: Path) -> None:
    """Each import of a trayagent package is in the table, or is one of the listed exceptions."""
    relative = path.relative_to(ROOT)
    own = package_of(".".join(("trayagent", *relative.with_suffix("").parts)))
    if len(relative.parts) == 1:
        return
    for module, at_top in imports(path):
        if not module.startswith("trayagent."):
            continue
        package = package_of(module)
        if (
            package in {own, "dotted_key", "errors", "exit_statuses", "own_module", "__version__"}
            or package in MAY_IMPORT[own]
        ):
            continue
        assert (str(relative), package) in FRONTS, f"{relative} imports {module}: not in the table"
        assert not at_top, f"{relative} imports {module} at its top: a front imports inside its function"


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if p.is_relative_to(ROOT / "core") or p.is_relative_to(ROOT / "ssh" / "mux")],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_the_deciding_packages_do_no_io(path: Path) -> None:
    """The core and the mux protocol import no module that could read a clock or have side effects."""
    if path.name in {"client.py", "peer_uid.py"}:
        return  # exceptions: the thin asyncio client, and the check of its peer
    bad = {m.split(".")[0] for m, _ in imports(path)} & NO_IO
    assert not bad, f"{path.relative_to(ROOT)} imports {bad}"


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if not p.is_relative_to(ROOT / "sandbox")],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_each_table_of_the_configuration_is_named_by_the_function_that_quotes(path: Path) -> None:
    """No sentence fills a name into `[hosts.…]` itself: `[hosts.s3.lab]` would be another table than the host's."""
    assert not re.search(r"\[(hosts|vpns|hooks)\.\W*\{", path.read_text())


# Each folder of the agent may import the folders before it. Modules outside the folders may import all folders, or
# be imported by all.
AGENT_FOLDERS = ("state", "forwards", "events", "masters", "roaming", "files")


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parent.parent == ROOT / "agent"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_no_folder_of_the_agent_imports_a_later_one(path: Path) -> None:
    """No folder of the agent imports a later folder. For example, `forwards` does not import `masters`."""
    later = AGENT_FOLDERS[AGENT_FOLDERS.index(path.parent.name) + 1 :]
    bad = [m for m, _ in imports(path) for f in later if m.startswith(f"trayagent.agent.{f}.")]
    assert not bad, f"{path.relative_to(ROOT)} imports {bad}"


def test_no_module_imports_itself_through_others() -> None:
    """The top-level imports of all modules form no cycle."""
    after = {module_of(path): {m for m, at_top in imports(path) if at_top} for path in FILES}
    order = TopologicalSorter({m: found & after.keys() for m, found in after.items()})
    try:
        order.prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def module_of(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    name = ".".join(("trayagent", *path.relative_to(ROOT).with_suffix("").parts))
    return name.removesuffix(".__init__")
