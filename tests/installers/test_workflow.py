"""The workflow of GitHub Actions, which runs the project's checks on other systems."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORKFLOW = (ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8")


def test_each_python_of_the_classifiers_is_tested() -> None:
    """The matrix has each Python of the Debian package, and the classifiers name no other."""
    tested = set(re.findall(r'\{image: "[a-z]+:[\d.]+", python: "(3\.\d+)"', WORKFLOW))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r":: 3\.\d+$", line)}
    script = (ROOT / "installers/linux/build-deb.sh").read_text(encoding="utf-8")
    packaged = set(re.search(r"^python_versions=\((.*?)\)", script, re.MULTILINE)[1].split())  # type: ignore[index]
    assert named <= tested == packaged


def test_the_workflow_runs_only_the_projects_own_checks() -> None:
    """Each system runs `.ci/run`, and macOS a target of the Makefile, so nothing is checked only on GitHub."""
    commands = re.findall(r"run: ([^|\n].*)$", WORKFLOW, re.MULTILINE)
    assert commands == ["bash .ci/run", "make test ARGS='-m \"not lab\"'"]
