"""The packages import only what the table allows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "trayagent"

# A package may import itself, the modules at the top (errors, the version, `own_module`), and the packages listed here.
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
    "init": {"core", "config", "ssh", "presentation"},
    "sandbox": set(),
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

# A command that fronts a package imports it inside its function.
FRONTS: dict[tuple[str, str], str] = {
    ("cli/run.py", "agent"): "`run` is the agent in the foreground",
    ("cli/doctor.py", "doctor"): "`doctor` checks what the agent needs, without one",
    ("cli/demo.py", "sandbox"): "`demo` shows the agent in the laboratory",
    ("cli/init.py", "init"): "`init` makes the first configuration, before there is an agent",
    ("cli/install.py", "desktop"): "`install` and `uninstall` start the agent at login, or no longer",
    ("cli/complete.py", "ssh"): "`complete` offers the names of ssh_config and what runs on a host",
    ("cli/attach.py", "attach"): "`attach` is the terminal itself",
    ("cli/login.py", "attach"): "`login` runs ssh at the terminal",
    ("cli/history.py", "history"): "`history` reads the log without an agent",
}

# The core and the mux protocol only decide, and do no I/O.
NO_IO = {"asyncio", "logging", "os", "pathlib", "random", "select", "shutil", "signal", "socket", "sqlite3",
         "subprocess", "tempfile", "threading", "time"}  # fmt: skip


def package_of(module: str) -> str:
    """Return the package of a dotted module, "" for the modules at the top."""
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
            module = node.module
            # `from trayagent import errors` names the module in its list.
            names = [f"{module}.{a.name}" for a in node.names] if module == "trayagent" else [module]
            found += [(name, id(node) in top) for name in names]
    return found


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_package_imports_only_what_the_table_allows(path: Path) -> None:
    """Each import of one of our packages is in the table, or belongs to a named front."""
    relative = path.relative_to(ROOT)
    own = package_of(".".join(("trayagent", *relative.with_suffix("").parts)))
    if len(relative.parts) == 1:
        return
    for module, at_top in imports(path):
        if not module.startswith("trayagent."):
            continue
        package = package_of(module)
        if package in {own, "errors", "own_module", "__version__"} or package in MAY_IMPORT[own]:
            continue
        assert (str(relative), package) in FRONTS, f"{relative} imports {module}: not in the table"
        assert not at_top, f"{relative} imports {module} at its top: a front imports inside its function"


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if p.is_relative_to(ROOT / "core") or p.is_relative_to(ROOT / "ssh" / "mux")],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_the_deciding_packages_do_no_io(path: Path) -> None:
    """The core and the mux protocol import nothing that could read a clock or have side effects."""
    if path.name in {"client.py", "peer.py"}:
        return  # the thin asyncio client, and the check of its peer
    bad = {m.split(".")[0] for m, _ in imports(path)} & NO_IO
    assert not bad, f"{path.relative_to(ROOT)} imports {bad}"
