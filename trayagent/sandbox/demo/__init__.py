"""The demo: the real agent and a plain ssh experience the same changes of network, side by side.

`main_story`, `hostile_story` (the lying café) and `roaming_story` (the session that survives) play. `stage`,
`hostile_stage` and `roaming_stage` hold the participants.
`event_words` and `silence_bar` contain the texts and bars (no side effects), and `screen` displays them.
"""

from __future__ import annotations

from trayagent.sandbox.demo.hostile_story import play as play_hostile
from trayagent.sandbox.demo.main_story import play
from trayagent.sandbox.demo.roaming_story import play as play_roaming

__all__ = ["play", "play_hostile", "play_roaming"]
