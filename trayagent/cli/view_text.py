"""Render the view as text: a headline, a line per host, and its problems beneath. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.text import Text

from trayagent.presentation import states, summary, times
from trayagent.presentation.beside import beside_hints, beside_lines, unlisted_lines
from trayagent.presentation.by_hand import by_hand_mark, unknown_lines
from trayagent.presentation.draining import draining_lines
from trayagent.presentation.roaming import roaming_lines
from trayagent.presentation.standby import standby_lines
from trayagent.presentation.text import clean
from trayagent.presentation.translation import _, number

STYLES = {
    "connected": "green",
    "checking": "cyan",
    "connecting": "cyan",
    "waiting": "yellow",
    "offline": "dim",
    "needs-vpn": "yellow",
    "needs-sign-in": "bold yellow",
    "failed": "bold red",
    "paused": "dim",
    "idle": "dim",
}
FLAGS = {"local": "-L", "remote": "-R", "dynamic": "-D"}
FORWARD_STYLES = {"open": "", "opening": "cyan", "closed": "dim", "failed": "red"}

Signs = Mapping[str, str]


def lines(view: Mapping[str, Any], now: datetime, width: int, signs: Signs, *, watching: bool) -> list[Text]:
    """Return the lines of the whole view. If `watching`, print times of day: durations would soon be wrong."""
    hosts = view["hosts"]
    shown = [*_rejected(view["agent"].get("config_error")), _headline(view, now, signs)]
    if hosts:
        shown.append(Text())
        columns = [[_name(h), _state(h, signs), _since(h, now, watching=watching)] for h in hosts]
        widths = [max(Text(cell).cell_len for cell in column) for column in zip(*columns, strict=True)]
        for host, cells in zip(hosts, columns, strict=True):
            shown += _host(host, cells, widths, width, signs)
            shown += _beneath(host, now, signs, watching=watching)
    else:
        shown += [_indented(line, "dim") for line in unlisted_lines(view["agent"])]
    if view["vpns"]:
        shown.append(Text())
        for vpn in view["vpns"]:
            shown += _vpn(vpn, now, signs, watching=watching)
    return shown


def _headline(view: Mapping[str, Any], now: datetime, signs: Signs) -> Text:
    """Return how many hosts are connected, over which network, and whether everything is paused."""
    agent, parts = view["agent"], [*_count(view), _network(view["network"])]
    if agent["paused"]:
        until = times.clock(agent["paused_until"], now, exact=True)
        parts.append(_("paused until {time}").format(time=until) if until else _("paused"))
    return Text(f" {signs['separator']} ".join(map(clean, parts)), style="bold")


def _count(view: Mapping[str, Any]) -> Iterator[str]:
    """Yield how many of the hosts that should be connected are connected. The menu shows the same numbers."""
    if not view["hosts"]:
        yield _("No hosts yet: list them, or just use ssh")
    else:
        yield from summary.count(view)


def _rejected(error: str | None) -> Iterator[Text]:
    """Yield why the agent rejected the configuration file. An older agent does not report this."""
    if error:
        yield Text(clean(_("Configuration rejected: {error}").format(error=error)), style="bold red")
        yield Text(_("The previous configuration stays in force until you fix the file."))


def _network(network: dict[str, Any]) -> str:
    default = network["default"]
    if not network["online"]:
        return _("no usable network")
    words = [default["interface"], default["address"]] if default else []
    if network["name"]:
        words.append(f"({network['name']})")
    return " ".join(word for word in words if word) or _("online")


def _name(host: dict[str, Any]) -> str:
    return clean(host["name"])


def _state(host: dict[str, Any], signs: Signs) -> str:
    word, roaming = clean(states.word(host["state"])), host.get("roaming")
    if host["state"] != "connected" or roaming is None:
        return word
    return f"{word} {signs['separator']} {_('roams (port)') if roaming.get('by') == 'port' else _('roams')}"


def _since(host: dict[str, Any], now: datetime, *, watching: bool) -> str:
    since = host["since"]
    if host.get("paused_until"):  # an older agent does not report this
        return _("until {time}").format(time=times.clock(host["paused_until"], now, exact=True))
    if not since:
        return ""
    if watching:
        return _("since {time}").format(time=times.clock(since, now, exact=True))
    return _("for {duration}").format(duration=times.ago(since, now))


def _host(
    host: dict[str, Any], cells: list[str], widths: list[int], width: int, signs: Signs
) -> Iterator[Text]:
    """Yield the host's line; forwards that do not fit follow beneath."""
    style = STYLES.get(host["state"], "")
    line = Text().append(f"{signs.get(host['state'], '?')} ", style=style)
    for cell, cell_width, cell_style in zip(cells, widths, ("bold", style, "dim"), strict=True):
        padded = Text(cell, style=cell_style)
        padded.pad_right(cell_width - padded.cell_len + 2)
        line.append_text(padded)
    indent = min(line.cell_len, width // 2)
    for forward in host["forwards"]:
        word = _forward(forward, signs)
        if line.cell_len > indent and line.cell_len + word.cell_len > width:
            line.rstrip()
            yield line
            line = Text(" " * indent)
        line.append_text(word).append("  ")
    line.rstrip()
    yield line


def _forward(forward: dict[str, Any], signs: Signs) -> Text:
    text = f"{FLAGS.get(forward['kind'], forward['kind'])} {clean(forward['spec'])}{by_hand_mark(forward)}"
    mark = {"failed": f" {signs['failed']}", "opening": f" {signs['more']}"}.get(forward["state"], "")
    return Text(text + mark, style=FORWARD_STYLES.get(forward["state"], ""))


def _beneath(host: dict[str, Any], now: datetime, signs: Signs, *, watching: bool) -> Iterator[Text]:
    """Yield the problem, what to do, the next retry, and the error of each failed forward."""
    yield from _problem(host["problem"])
    if host["state"] == "idle" and host.get("held"):
        yield _indented(
            f"{states.words_of(host)} {signs['separator']} trayagent reconnect {host['name']}", "dim"
        )
    lines = (
        *_resolving(host),
        *_persist(host),
        *_unanswered(host, watching=watching),
        *roaming_lines(host),
        *standby_lines(host),
        *draining_lines(host, now),
        *beside_lines(host),
        *beside_hints(host),
        *unknown_lines(host),
    )
    for line in lines:
        yield _indented(line, "dim")
    for forward in host["forwards"]:
        if forward["error"]:
            text = f"{FLAGS.get(forward['kind'], '')} {forward['spec']}: {_words_of(forward['error'])}"
            yield _indented(text, "red")
    if host["next_retry"]:
        moment = host["next_retry"]
        due = _("next try in {duration}").format(duration=times.until(moment, now))
        if watching:
            due = _("next try at {time}").format(time=times.clock(moment, now, exact=True))
        attempt = _("attempt {number}").format(number=host["attempt"] + 1)
        yield _indented(f"{due} {signs['separator']} {attempt}", "dim")


def _persist(host: dict[str, Any]) -> Iterator[str]:
    """Yield that ControlPersist closes the forwards of an idle host. An older agent does not report this."""
    persist_s = host.get("persist_s")
    if persist_s and host["state"] == "idle" and host["forwards"] and not host.get("held"):
        words = _("ControlPersist in ssh_config ends its forwards {duration} after its last use")
        yield words.format(duration=times.lasted(persist_s))


def _resolving(host: dict[str, Any]) -> Iterator[str]:
    """Yield that ssh has not read its configuration yet. An older agent does not report this."""
    if host.get("resolving"):
        yield _("waits for ssh -G: a Match exec in ssh_config may take long")


def _unanswered(host: dict[str, Any], *, watching: bool) -> Iterator[str]:
    """Yield that the server has not answered the last probe yet. An older agent does not report this."""
    waited_ms = host.get("unanswered_ms")
    if waited_ms is not None and host["state"] in {"connected", "checking"}:
        waited = number(f"{waited_ms / 1e3:.1f} s")
        ago = _("probed {duration} ago: no answer yet").format(duration=waited)
        yield _("no answer to a probe yet") if watching else ago


def _problem(problem: dict[str, Any] | None) -> Iterator[Text]:
    if problem:
        yield _indented(problem["title"], "red")
        if problem["hint"]:
            yield _indented(problem["hint"], "")


def _words_of(error: Any) -> str:
    """Return the text of a forward's error, which may be a problem or a string."""
    return str(error["title"]) if isinstance(error, dict) else str(error)


def _indented(text: str, style: str) -> Text:
    return Text(f"    {clean(text)}", style=style)


def _vpn(vpn: dict[str, Any], now: datetime, signs: Signs, *, watching: bool) -> Iterator[Text]:
    like = {"up": "connected", "down": "offline"}.get(
        vpn["state"], vpn["state"]
    )  # the state of a host that has the same sign
    words = ["VPN", clean(vpn["name"]), clean(states.word(vpn["state"]))]
    words += [clean(vpn["interface"])] if vpn["interface"] else []
    line = Text().append(f"{signs.get(like, '?')} ", style=STYLES.get(like, ""))
    line.append("  ".join([" ".join(words), _since(vpn, now, watching=watching)]).rstrip())
    yield line
    yield from _problem(vpn["problem"])
