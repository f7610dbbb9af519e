"""The demo: the real agent and a plain ssh experience the same changes of network, side by side.

`acts` plays the main story and `hostile` that of the lying café. `stage` holds the participants. `words` and
`lanes` contain the texts and bars (no side effects), and `screen` displays them.
"""

from __future__ import annotations

from trayagent.sandbox.demo.acts import play
from trayagent.sandbox.demo.hostile import play as play_hostile

__all__ = ["play", "play_hostile"]
