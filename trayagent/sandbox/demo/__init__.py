"""The demo: the real agent and a plain ssh go through the same changes of network, side by side.

`acts` tells the story and `hostile` that of the lying café. `stage` holds what plays in it, `words` and
`lanes` are how it is said (pure), `screen` is where.
"""

from __future__ import annotations

from trayagent.sandbox.demo.acts import play
from trayagent.sandbox.demo.hostile import play as play_hostile

__all__ = ["play", "play_hostile"]
