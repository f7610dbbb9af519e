"""A hook of MkDocs: adds the project's files outside docs/ to the site, and leads the links to them there."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
FILES = {
    "installers/fleet/README.md": "fleet.md",
    "installers/fleet/roles/trayagent/defaults/main.yml": "fleet-defaults.yml",
    "installers/recipes/README.md": "recipes.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
    "assets/icon.svg": "pictures/icon.svg",
}
"""Paths in the project, and their names in the site."""

_LINK = re.compile(r"\]\((?![a-z]+://|#)([^)\s#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files from outside docs/."""
    for there, here in FILES.items():
        files.append(File.generated(config, here, abs_src_path=str(ROOT / there)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Return the page with links to names in the site. A link to a file that it lacks stays, and fails the build."""
    here = page.file.src_uri
    original = next((path for path, name in FILES.items() if name == here), f"docs/{here}")

    def renamed(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(original), link[1]))
        target = FILES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        return f"]({posixpath.relpath(target, posixpath.dirname(here) or '.')}" if target else link[0]

    return _LINK.sub(renamed, markdown)
