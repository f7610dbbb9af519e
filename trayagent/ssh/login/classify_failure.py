"""Classify why an ssh failed, from its log and its stderr."""

from __future__ import annotations

import re

from msgspec.structs import replace

from trayagent.core.facts.failure import Failure, FailureKind
from trayagent.core.facts.problems import Problem
from trayagent.ssh.login.failure_table import TABLE, Row
from trayagent.ssh.login.key_exchange_log import KeyExchange
from trayagent.ssh.login.proxy_failures import classify_proxy_error

MAX_LINE = 200
"""How many characters of an ssh message the user sees at most, because a server may have written it."""

# A server or a jump host may send endless text. ssh's own lines and logs are far shorter than these limits.
_LONGEST_LINE = 1000
_FIRST_LINES = 100
_LAST_LINES = 400

# The last message of ssh when its transport (a jump host's ssh, a ProxyCommand) ended. "Broken pipe" also means the
# end of the transport, if ssh was still writing its banner.
_CARRIER_ENDED = re.compile(
    r"^(?:Connection (?:closed|reset) by|banner exchange: Connection to) UNKNOWN port (?:65535|-1)(?:: .*)?$",
    re.MULTILINE,
)
# The kinds of failure when the server ends the connection without a reason.
_UNSPOKEN: frozenset[FailureKind] = frozenset({"dropped", "timed-out", "unknown", "proxy-command"})
_AUTHENTICATED = re.compile(r"^Authenticated to ", re.MULTILINE)
_PEERS_WORDS = re.compile(r"^Received disconnect from ", re.MULTILINE)
# Every ssh prints these lines, whether it succeeds or fails.
_NOISE = re.compile(
    r"(?:debug[123]: |kex_exchange_identification: |Authenticated (?:to|using) |Warning: Permanently added "
    r"|Transferred: |Bytes per second: |Killed by signal |Allocated port |Pseudo-terminal )"
)
# Failures that only the user or the administrator of the jump host can fix. Any other failure of a jump host means
# that the jump host or the network is down.
_KEEPS_ITS_CODE: frozenset[FailureKind] = frozenset(
    {
        "auth",
        "too-many-keys",
        "key-file",
        "passphrase",
        "host-key-changed",
        "host-key-unknown",
        "host-certificate",
        "negotiation",
        "config",
    }
)


def classify(
    own: str,
    *,
    host: str,
    exit_status: int | None = None,
    others: str | None = None,
    proven: str | None = None,
) -> Failure:
    """Return why ssh to `host` failed; `exit_status` is None if the agent ended ssh at its deadline.

    `own` is ssh's log. `others` is the output of a jump host's ssh or a ProxyCommand, None if `own` contains that
    output. `proven` is the part of `own` after the key exchange: "" if there was no key exchange, None if all of `own`
    counts. Only the first and last lines of each text count, and only the beginning of each line. Never raises. A
    failure that no row of the table matches is `unknown`, with ssh's last line.
    """
    text, carrier = _readable(own), _readable(others or "").strip() + "\n"
    ends = [ended.start() for ended in _CARRIER_ENDED.finditer(text)]
    text_of_carrier = _without_noise(text[: ends[0]] if ends and others is None else carrier)
    if ends and text_of_carrier:
        links = len(ends) + sum(1 for _ in _CARRIER_ENDED.finditer(carrier))
        return _carried(
            _without_noise(_CARRIER_ENDED.split(text_of_carrier)[0]) or text_of_carrier, host, links
        )
    after = text if proven is None else _readable(proven)
    if not after and (from_peer := _PEERS_WORDS.search(text)):
        return _direct(carrier + text[: from_peer.start()], "", host) or _disconnected(host)
    return _direct(carrier + text, after, host) or _unexplained(carrier + text, host, exit_status)


def perhaps_refused(failure: Failure, exchange: KeyExchange, host: str) -> Failure:
    """Return the failure, marked as `perhaps_refused` if the login may have been refused.

    That is possible if the server proved its host key, and then the login ended without a message.

    sshd closes the connection if PAM refuses the account (expired, pam_access), and for RefuseConnection (OpenSSH 9.9
    and later). A relay on the route may swallow a refusal. A server that is busy or reboots is no such case: it closes
    the connection before the key exchange.
    """
    unspoken = failure.kind in _UNSPOKEN and not failure.positive
    if exchange.host_key is None or not unspoken or _AUTHENTICATED.search(exchange.after):
        return failure
    kind, problem = failure.kind, failure.problem
    if kind in {"dropped", "proxy-command"}:
        title = f"{host} closed the connection during the login: perhaps the account is refused or expired"
        kind, problem = (
            "closed",
            Problem("login-closed", title, f"The server's log says why. Try it: ssh {host}"),
        )
    elif kind == "timed-out":
        title = f"{host} did not finish the login in time: perhaps it was refused"
        problem = Problem("timed-out", title, f"Try it: ssh {host}")
    return replace(failure, problem=problem, kind=kind, by_jump=False, perhaps_refused=True)


def unlogged(failure: Failure, host: str) -> Failure:
    """Return the failure of an ssh that connected and left an empty log, marked as `perhaps_refused`.

    ssh always logs a reason before it ends. So ssh could not write its log. `failure` explains that, or it is unknown.
    """
    problem = failure.problem
    if failure.kind != "unwritable":
        title = f"ssh to {host} ended, and could not write why"
        problem = Problem("unknown", title, "The disk may have been full. The agent tries again")
    return replace(failure, problem=problem, kind="closed", perhaps_refused=True)


def _direct(text: str, after: str, host: str) -> Failure | None:
    found = _row_of(text, after)
    return _failure(*found, who=host, host=host) if found is not None else None


def _disconnected(host: str) -> Failure:
    """Return the failure for a disconnect before the key exchange; anyone on the route may have sent it."""
    hint = "Another machine may answer here; the agent tries again"
    problem = Problem("refused", f"{host} ended the connection before it proved its host key", hint)
    return Failure(problem, "disconnected")


def _carried(text_of_carrier: str, host: str, links: int) -> Failure:
    """Return the failure from the output of a jump host's ssh or a ProxyCommand.

    If a jump host could not reach the next machine, its message is about that machine. `links` is the number of
    connections in the chain that ended. If it is 1, the next machine is the target.
    """
    found = _row_of(text_of_carrier, text_of_carrier)
    if found is None:
        return _by_proxy(text_of_carrier, host)
    row, match = found
    if links == 1 and "stdio forwarding failed" in text_of_carrier:
        return _failure(row, match, who=host, host=host)
    problem = _failure(row, match, who=f"the jump host of {host}", host=host).problem
    code = problem.code if row.kind in _KEEPS_ITS_CODE else "jump-host-failed"
    title = problem.title[:1].upper() + problem.title[1:]
    return Failure(Problem(code, title, problem.hint), row.kind, by_jump=True)


def _by_proxy(text_of_carrier: str, host: str) -> Failure:
    """Return the failure of a ProxyCommand other than ssh, with the message of that program."""
    kind, line = classify_proxy_error(text_of_carrier) or ("proxy-command", _last_line(text_of_carrier))
    title = f"The ProxyCommand of {host} failed: {line[:MAX_LINE]}"
    if kind == "proxy-login":
        return Failure(Problem("auth-denied", title, f"Log in: trayagent login {host}"), kind)
    return Failure(Problem("jump-host-failed", title), kind)


def _row_of(text: str, after: str) -> tuple[Row, re.Match[str]] | None:
    """Return the first row that matches, with its match.

    A positive row must match in `after`, the part of the text after the key exchange.
    """
    for row in TABLE:
        match = row.match(after if row.positive else text)
        if match is not None:
            return row, match
    return None


def _failure(row: Row, match: re.Match[str], *, who: str, host: str) -> Failure:
    groups = {name: (value or "").strip()[:MAX_LINE] for name, value in match.groupdict().items()}
    title = row.title.format(who=who, host=host, **groups)
    hint = row.hint.format(who=who, host=host, **groups)
    return Failure(Problem(row.code, title, hint), row.kind, row.positive)


def _unexplained(text: str, host: str, exit_status: int | None) -> Failure:
    if exit_status is None:
        return Failure(Problem("timed-out", f"{host} did not answer in time"), "timed-out")
    title = _last_line(text) or f"ssh to {host} ended with status {exit_status}"
    return Failure(Problem("unknown", title, f"See all of it: ssh -v {host}"), "unknown")


def _last_line(text: str) -> str:
    return _without_noise(text).rpartition("\n")[2][:MAX_LINE]


def _without_noise(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.strip() and not _NOISE.match(line))


def _readable(text: str) -> str:
    """Return a text with bounded length and without control characters, because it may contain a server's banner."""
    lines = text.split("\n")
    if len(lines) > _FIRST_LINES + _LAST_LINES:
        lines = lines[:_FIRST_LINES] + lines[-_LAST_LINES:]
    return "\n".join("".join(filter(str.isprintable, line[:_LONGEST_LINE])) for line in lines)
