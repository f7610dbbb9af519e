"""The conversion of a menu to dbusmenu: numbers, properties, and the smallest possible updates."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trayagent.desktop.tray.dbusmenu_layout import ROOT, Change, Layouts, label
from trayagent.desktop.tray.look import Entry


def entries(*keys: str) -> tuple[Entry, ...]:
    """Return actions whose labels equal their keys."""
    return tuple(Entry(key, key) for key in keys)


def number(layouts: Layouts, text: str) -> int:
    """Return the number of the item with this label."""
    return next(n.id for n in layouts.nodes.values() if n.props.get("label") == text)


def test_what_cannot_be_chosen_has_no_key() -> None:
    """A label, a submenu, a separator and a disabled action do nothing, even if a panel reports a click."""
    layouts = Layouts()
    layouts.lay_out(
        [
            Entry("a", "a"),
            Entry("b", "b", enabled=False),
            Entry("c", "c", "label"),
            Entry("d", "d", "submenu", children=entries("e")),
            Entry("f", kind="separator"),
        ]
    )
    assert set(layouts.keys.values()) == {"a", "e"}


def test_a_key_that_is_there_twice_is_two_items() -> None:
    """If a key exists twice, there are two items with that key."""
    layouts = Layouts()
    layouts.lay_out(entries("a", "a"))
    assert len(layouts.nodes) == 3
    assert list(layouts.keys.values()) == ["a", "a"]
    assert layouts.lay_out(entries("a", "a")) == Change()


def test_only_the_parents_whose_children_changed_are_laid_out_again() -> None:
    """Each parent whose children changed is laid out again, and no other."""
    layouts = Layouts()

    def lay_out(one: str, two: str) -> tuple[int, ...]:
        menu = [Entry(k, k, "submenu", children=entries(*v)) for k, v in (("one", one), ("two", two))]
        return layouts.lay_out(menu).parents

    assert lay_out("ab", "cd") == (ROOT,)
    assert lay_out("ab", "cd") == ()
    assert lay_out("ab", "dc") == (number(layouts, "two"),)
    assert lay_out("b", "d") == (number(layouts, "one"), number(layouts, "two"))


def test_a_property_at_its_default_again_is_sent_as_removed() -> None:
    """The update lists `enabled` as removed when an action can be chosen again."""
    layouts = Layouts()
    layouts.lay_out([Entry("a", "a", enabled=False)])
    at = number(layouts, "a")
    assert layouts.lay_out([Entry("a", "b")]) == Change((), ((at, {"label": "b"}),), ((at, ("enabled",)),))


def test_an_item_of_another_kind_is_another_item() -> None:
    """An item that changes its kind becomes a new item, because panels read an item's kind only once."""
    layouts = Layouts()
    layouts.lay_out([Entry("a", "a")])
    before = number(layouts, "a")
    assert layouts.lay_out([Entry("a", "a", "checkbox")]).parents == (ROOT,)
    assert number(layouts, "a") != before


def test_a_label_is_one_short_line_without_accelerators() -> None:
    """A label is one short line without accelerators, whatever characters the name or text contains."""
    assert label("a_b\n c\0\udc80\t") == "a__b c\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
    assert len(label("x" * 500)) == 120


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=12))
def test_a_number_never_means_two_keys(menus: list[list[str]]) -> None:
    """Over any sequence of menus, a number means only one key, and a key that stays keeps its number."""
    layouts, meant = Layouts(), dict[int, object]()
    last: dict[object, int] = {}
    for keys in menus:
        layouts.lay_out(entries(*keys))
        for at, key in layouts.keys.items():
            assert meant.setdefault(at, key) == key
        now = {key: at for at, key in layouts.keys.items()}
        assert all(now[key] == last[key] for key in now.keys() & last.keys())
        last = now


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=12))
def test_gnomes_extension_shows_the_lines_in_order(menus: list[list[str]]) -> None:
    """The extension adds and removes lines, but never moves one. The root and a submenu are in order all the same."""
    layouts = Layouts(appindicator=True)
    root, inner = list[int](), list[int]()
    meant = dict[int, object]()
    for keys in menus:
        layouts.lay_out([*entries(*keys), Entry("sub", "sub", "submenu", children=entries(*keys))])
        sub = next(node for node in layouts.root.children if "children-display" in node.props)
        for parent, shown in ((layouts.root, root), (sub, inner)):
            now = [child.id for child in parent.children]
            # As dbusMenu.js does: removals at once, additions afterwards, at their positions in the new layout.
            added = [(at, number) for at, number in enumerate(now) if number not in shown]
            shown[:] = [number for number in shown if number in now]
            for at, number in added:
                shown.insert(at, number)
            assert shown == now
        for at, key in layouts.keys.items():
            assert meant.setdefault(at, key) == key


def test_only_the_line_that_moves_gets_a_new_number() -> None:
    """If a host moves to the top, the submenu that the user reads stays open: the other lines keep their numbers."""
    layouts = Layouts(appindicator=True)
    layouts.lay_out(entries(*"abcd"))
    before = {key: at for at, key in layouts.keys.items()}
    layouts.lay_out(entries(*"dabc"))
    now = {key: at for at, key in layouts.keys.items()}
    assert {key for key in "abcd" if now[key] != before[key]} == {"d"}


@pytest.mark.parametrize("text", ["my_host_1", "host", "_x", "x_", "a__b", "__", "a___b_c", "___x", "x_ y_z"])
def test_underscores_survive_in_every_panel(text: str) -> None:
    """Underscores are escaped for each panel: most read "__" as "_".

    GNOME's extension drops the first one before a character.
    """
    usual = re.sub("__|_(.?)", lambda found: "_" if found[0] == "__" else found[1], label(text))
    gnome = re.sub("_([^_])", r"\1", label(text, first_only=True), count=1)
    assert usual == gnome == text


def test_labels_change_with_the_panel() -> None:
    """A panel of the other kind gets its own labels for the same items."""
    layouts = Layouts()
    layouts.lay_out([Entry("a", "a_b_c")])
    layouts.appindicator = True
    assert layouts.lay_out([Entry("a", "a_b_c")]).updated == ((1, {"label": "a__b_c"}),)
