"""Render hosts and VPNs: state, reason, what to do, forwards with links; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.local_end import forward_text, local_address, local_url
from trayagent.history.charts import text
from trayagent.presentation import states, summary
from trayagent.presentation.by_hand import by_hand_mark, unknown_lines
from trayagent.presentation.draining import draining_lines
from trayagent.presentation.forward_side import with_side
from trayagent.presentation.host_state import state_words
from trayagent.presentation.times import clock
from trayagent.presentation.translation import _

Host = Mapping[str, Any]

KINDS = {"needs-you": 0, "away": 1, "incomplete": 2, "well": 3, "unused": 4}
"""The classes of hosts for the style sheet, in their order on the page."""


def hosts_section(view: Mapping[str, Any], now: datetime) -> Iterator[str]:
    """Yield the HTML of the hosts, those that need the user first. Hosts that are not in use are folded."""
    yield f"<h2>{text(_('Hosts'))}</h2>"
    if not view["hosts"]:
        words = _("No hosts yet. {command} sets up the first ones from your ssh configuration.")
        yield f"<p>{text(words).format(command='<code>trayagent init</code>')}</p>"
        return
    ordered = sorted(view["hosts"], key=lambda host: (KINDS[_kind(host)], host["name"].casefold()))
    used = [host for host in ordered if _kind(host) != "unused"]
    unused = ordered[len(used) :]
    if used:
        yield _list(used, now)
    if unused:
        folded = text(_("Not in use ({count})").format(count=len(unused)))
        opening = f"<details{' open' * (not used)}><summary>{folded}</summary>"
        yield f"{opening}{_list(unused, now)}</details>"


def vpns_section(view: Mapping[str, Any], now: datetime) -> Iterator[str]:
    """Yield the HTML of the VPNs, if there are any."""
    if not view["vpns"]:
        return
    yield f"<h2>{text(_('VPNs'))}</h2>"
    yield f'<ul class="hosts">{"".join(_vpn(vpn, now) for vpn in view["vpns"])}</ul>'


def _kind(host: Host) -> str:
    if summary.host_needs_you(host):
        return "needs-you"
    if host["state"] in states.NOT_WANTED:
        return "unused"
    if host["state"] != "connected":
        return "away"
    return "incomplete" if summary.lacks(host) else "well"


def _list(hosts: Sequence[Host], now: datetime) -> str:
    return f'<ul class="hosts">{"".join(_host(host, now) for host in hosts)}</ul>'


def _host(host: Host, now: datetime) -> str:
    lines = [_head(_kind(host), states.sign(host["state"]), host["name"], state_words(host, now))]
    if lacking := summary.lacks(host):
        lines.append(f'<p class="problem">{text(lacking[0].upper() + lacking[1:])}.</p>')
    lines += _problem(host["problem"])
    lines += [f"<p>{text(line[0].upper() + line[1:])}.</p>" for line in draining_lines(host, now)]
    lines += [f"<p>{text(line)}</p>" for line in unknown_lines(host)]
    if host["forwards"]:
        ordered = sorted(host["forwards"], key=lambda forward: bool(forward["state"] != "failed"))
        lines.append(f'<ul class="forwards">{"".join(map(_forward, ordered))}</ul>')
    return f"{''.join(lines)}</li>"


def _vpn(vpn: Mapping[str, Any], now: datetime) -> str:
    kind = {"up": "well", "needs-sign-in": "needs-you"}.get(vpn["state"], "away")
    sign = states.sign({"well": "connected", "needs-you": "needs-sign-in"}.get(kind, "offline"))
    head = _head(kind, sign, vpn["name"], _state_of_vpn(vpn, now))
    return f"{head}{''.join(_problem(vpn['problem']))}</li>"


def _head(kind: str, sign: str, name: str, state: str) -> str:
    # Hide the sign from screen readers: the words after the name say the same.
    return (
        f'<li class="{kind}"><h3><span class="sign" aria-hidden="true">{text(sign)}</span> '
        f'<bdi>{text(name)}</bdi> <span class="state">{text(state)}</span></h3>'
    )


def _problem(problem: Mapping[str, Any] | None) -> Iterator[str]:
    if problem:
        yield f'<p class="problem">{text(problem["title"])}</p>'
        if problem["hint"]:
            yield f"<p>{text(problem['hint'])}</p>"


def _forward(given: Mapping[str, Any]) -> str:
    words, url, address = _parsed(given)
    name = text(words)
    if given["state"] == "open" and url is not None:
        name = f'<a href="{text(url)}">{name}</a>'
    elif given["state"] == "open" and address is not None:
        name = f"<code>{text(address)}</code> {name}"
    state = "" if given["state"] == "open" else f" <b>{text(states.word(given['state']))}</b>"
    error = f": {text(_words_of(given['error']))}" if given["error"] else ""
    return f'<li class="{text(given["state"])}">{name}{by_hand_mark(given)}{state}{error}</li>'


def _parsed(given: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    """Return a forward's text, its URL for a browser, and its address for other programs."""
    try:
        forward = parse(given["kind"], given["spec"])
    except (ValueError, KeyError):
        return f"{given['kind']} {given['spec']}", None, None
    return with_side(forward.kind, forward_text(forward)), local_url(forward), local_address(forward)


def _words_of(error: Any) -> str:
    """Return the text of a forward's error, which may be a problem or a string."""
    return str(error["title"] if isinstance(error, Mapping) else error)


def _state_of_vpn(vpn: Mapping[str, Any], now: datetime) -> str:
    word, shown = states.word(vpn["state"]), clock(vpn["since"], now)
    return _("{state} since {time}").format(state=word, time=shown) if shown else word
