"""Thousands of histories in a virtual world; the policy's invariants hold in each."""

from __future__ import annotations

from hypothesis import given

from tests.sim.histories import History, histories, play


@given(histories(longest=8))
def test_the_invariants_hold_in_short_histories(history: History) -> None:
    """A few events close together, in every order: where races are found, and easily read."""
    play(history)


@given(histories(longest=40))
def test_the_invariants_hold_in_long_histories(history: History) -> None:
    """A day of a laptop: what is left behind by one event meets the next."""
    play(history)
