"""The demo: the real agent and a plain ssh go through the same changes of network, side by side.

`acts` tells the story, `stage` holds what plays in it, `words` and `lanes` are how it is
said (pure), `screen` is where.
"""

from __future__ import annotations

from trayagent.sandbox.demo.acts import play

__all__ = ["play"]
