"""Evidence of decisions as pairs, and as text."""

from __future__ import annotations

from trayagent.core.facts.evidence import NO_EVIDENCE, Evidence


def test_the_text_has_the_pairs_in_their_order() -> None:
    """Each pair is one word of the text, in order. A value is written as Python prints it."""
    evidence = Evidence.of(probe="silent", silent_ms=200, local=None).plus(control="ready")
    assert str(evidence) == "probe=silent silent_ms=200 local=None control=ready"
    assert str(Evidence.of(draining=7) + evidence).startswith("draining=7 probe=silent")


def test_an_added_or_removed_address_has_a_sign() -> None:
    """The text abbreviates changes of addresses; a key may repeat."""
    pairs = (("added", "192.0.2.7"), ("added", "fd00::7"), ("removed", "192.0.2.2"))
    assert str(Evidence(pairs)) == "+192.0.2.7 +fd00::7 -192.0.2.2"


def test_a_value_is_found_by_its_key() -> None:
    """A value is found by its key, not by words within another value."""
    evidence = Evidence.of(network="cafe vpn=corp", up="no")
    assert (evidence.get("network"), evidence.get("up"), evidence.get("vpn")) == ("cafe vpn=corp", "no", None)


def test_no_evidence_is_false_and_has_no_text() -> None:
    """Empty evidence is false and has no text, so a caller can test whether there is evidence."""
    assert not NO_EVIDENCE
    assert str(NO_EVIDENCE) == ""
    assert Evidence.of(up="no")
