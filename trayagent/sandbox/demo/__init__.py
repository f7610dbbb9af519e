"""The demo: the real agent and a plain ssh go through the same changes of network, side by side.

`main_story`, `hostile_story` (a café's gateway impersonates the server) and `roaming_story` (a session
survives a change of network) run the demos. `stage`, `hostile_stage` and `roaming_stage` start the
participants. `event_words` and `silence_bar` make the texts and bars, without side effects. `screen` displays
them.
"""

from __future__ import annotations

from trayagent.sandbox.demo.hostile_story import play as play_hostile
from trayagent.sandbox.demo.main_story import play
from trayagent.sandbox.demo.roaming_story import play as play_roaming

__all__ = ["play", "play_hostile", "play_roaming"]
