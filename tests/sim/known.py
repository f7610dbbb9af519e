"""Histories that broke an invariant once, each as short as it could be made."""

from __future__ import annotations

from tests.sim.histories import History

KNOWN: dict[str, History] = {
    # The address stayed on a radio that changed networks, while the packets left through the cable.
    "the radio behind the cable": (("stranger",), 0.3, ((0.0, "plug", "cable"), (0.0, "flapping", "twin"))),
}
