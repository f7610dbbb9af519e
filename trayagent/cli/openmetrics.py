"""Render the view as OpenMetrics text, for node_exporter's textfile collector and other scrapers.

The text has only gauges and counters without timestamps. The collector reads the older text format, rejects
a file that declares any other type, and ignores `# UNIT` and `# EOF` as comments.

Source: the OpenMetrics specification 1.0; prometheus/common, expfmt/text_parse.go.
"""

from __future__ import annotations

from datetime import datetime

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Labels = dict[str, str]
    Sample = tuple[Labels, float | None]

HOST_STATES = (
    "connected", "checking", "connecting", "waiting", "offline",
    "needs-vpn", "needs-sign-in", "failed", "paused", "idle",
)  # fmt: skip
VPN_STATES = ("up", "down", "connecting", "needs-sign-in")
FORWARD_STATES = ("open", "opening", "closed", "failed")


def without_agent() -> str:
    """Return the text for the case that no agent answers. It reports only this, and no outdated value."""
    return _text([_up(0)])


def text(view: dict[str, Any]) -> str:
    """Return the whole view, ending with `# EOF`."""
    return _text(
        [_up(1), *_agent(view["agent"]), *_network(view), *_hosts(view["hosts"]), *_vpns(view["vpns"])]
    )


def _up(value: int) -> list[str]:
    return _gauge("trayagent_up", "Whether the agent is running and answers.", [({}, value)])


def _agent(agent: dict[str, Any]) -> Iterable[list[str]]:
    about = {"version": agent["version"]}
    yield _gauge("trayagent_build", "The version of the agent that runs; always 1.", [(about, 1)])
    yield _gauge(
        "trayagent_start_timestamp_seconds",
        "When the agent started, since the epoch.",
        [({}, _seconds(agent["started"]))],
        unit="seconds",
    )
    yield _gauge("trayagent_paused", "Whether everything is paused.", [({}, agent["paused"])])
    rejected = agent.get("config_error") is not None  # an older agent does not report the value
    yield _gauge(
        "trayagent_configuration_rejected",
        "Whether the current configuration file was rejected; the previous configuration stays in force.",
        [({}, rejected)],
    )


def _network(view: dict[str, Any]) -> Iterable[list[str]]:
    online = view["network"]["online"]
    yield _gauge("trayagent_network_online", "Whether there is a usable default route.", [({}, online)])


def _hosts(hosts: list[dict[str, Any]]) -> Iterable[list[str]]:
    def gauge(name: str, what: str, key: str) -> list[str]:
        return _gauge(name, what, [(_of(h), h[key]) for h in hosts])

    yield _gauge(
        "trayagent_host_up",
        "Whether the host is connected.",
        [(_of(h), h["state"] == "connected") for h in hosts],
    )
    yield gauge("trayagent_host_listed", "Whether the configuration lists the host.", "listed")
    yield _states(
        "trayagent_host_state",
        "1 for the state that the host is in, 0 for the others.",
        hosts,
        "host",
        HOST_STATES,
    )
    yield _gauge(
        "trayagent_host_state_since_timestamp_seconds",
        "When the state of the host began, since the epoch.",
        [(_of(h), _seconds(h["since"])) for h in hosts],
        unit="seconds",
    )
    yield _gauge(
        "trayagent_host_problem",
        "1 for each host with a problem, whose code is a label.",
        [(_of(h) | {"code": h["problem"]["code"]}, 1) for h in hosts if h["problem"]],
    )
    yield gauge("trayagent_host_attempts", "Failed attempts to connect since the last success.", "attempt")
    yield _counter(
        "trayagent_host_recoveries",
        "Recoveries of the host since the agent started.",
        [(_of(h), h["recoveries"]) for h in hosts],
    )
    yield _gauge(
        "trayagent_host_last_recovery_seconds",
        "How long the last recovery took.",
        [(_of(h), _from_ms(h["last_recovery_ms"])) for h in hosts],
        unit="seconds",
    )
    yield _gauge(
        "trayagent_host_forwards",
        "How many forwards of the host are in each state.",
        [
            (_of(h) | {"state": state}, sum(f["state"] == state for f in h["forwards"]))
            for h in hosts
            for state in FORWARD_STATES
        ],
    )


def _vpns(vpns: list[dict[str, Any]]) -> Iterable[list[str]]:
    yield _gauge(
        "trayagent_vpn_up", "Whether the VPN is up.", [({"vpn": v["name"]}, v["state"] == "up") for v in vpns]
    )
    yield _states(
        "trayagent_vpn_state",
        "1 for the state that the VPN is in, 0 for the others.",
        vpns,
        "vpn",
        VPN_STATES,
    )


def _of(host: dict[str, Any]) -> Labels:
    return {"host": host["name"]}


def _states(
    name: str, what: str, things: list[dict[str, Any]], label: str, known: tuple[str, ...]
) -> list[str]:
    """Return a sample of 0 or 1 for each state. So every series exists before a host first gets that state."""
    return _gauge(
        name,
        what,
        [
            ({label: thing["name"], "state": state}, thing["state"] == state)
            for thing in things
            for state in dict.fromkeys((*known, thing["state"]))
        ],
    )


def _gauge(name: str, what: str, samples: list[Sample], *, unit: str = "") -> list[str]:
    return _family(name, "gauge", what, samples, unit)


def _counter(name: str, what: str, samples: list[Sample]) -> list[str]:
    return _family(name, "counter", what, samples, "")


def _family(name: str, kind: str, what: str, samples: list[Sample], unit: str) -> list[str]:
    """Return the lines of one metric family. Drop samples without a value; [] if no sample is left."""
    suffix = "_total" if kind == "counter" else ""
    lines = [f"{name}{suffix}{_labels(labels)} {_number(v)}" for labels, v in samples if v is not None]
    if not lines:
        return []
    head = [f"# TYPE {name} {kind}", *([f"# UNIT {name} {unit}"] if unit else []), f"# HELP {name} {what}"]
    return head + lines


def _labels(labels: Labels) -> str:
    return (
        "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}" if labels else ""
    )


def _escaped(text: str) -> str:
    """Escape a label's value. A surrogate is not valid UTF-8 and would make the whole file unreadable."""
    plain = text.encode(errors="replace").decode()
    return plain.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()


def _from_ms(value: float | None) -> float | None:
    return None if value is None else round(value / 1000, 6)


def _text(families: Iterable[list[str]]) -> str:
    return "".join(f"{line}\n" for family in families for line in family) + "# EOF\n"
