"""Say on which machine a forward listens; pure."""

from __future__ import annotations

from trayagent.presentation.translation import _


def with_side(kind: str, text: str) -> str:
    """Return the text of a forward of this kind. A remote forward listens on the server, so its text says that."""
    return _("on the server: {forward}").format(forward=text) if kind == "remote" else text
