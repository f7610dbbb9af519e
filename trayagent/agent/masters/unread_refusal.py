"""Reads from the log of a login that the agent did not wait for whether it was refused, or may have been."""

from __future__ import annotations

from pathlib import Path

from trayagent.core.facts.failure import Failure
from trayagent.core.policy.logins.when_to_retry import may_be_refusal
from trayagent.ssh.login.classify_failure import classify, perhaps_refused
from trayagent.ssh.login.key_exchange_log import read_key_exchange
from trayagent.ssh.master import master_logs as master_log


def unread_refusal(log: Path, host: str) -> tuple[Failure, str | None] | None:
    """Return the failure and the host key that the server proved, or None if no login can have been refused.

    `log` is the log of an ssh that has ended. A refusal may have been on its way if ssh ended after the key exchange.
    """
    words = master_log.read(log)
    exchange = read_key_exchange(words.own, None)
    failure = classify(words.own, host=host, others=words.others, proven=exchange.after)
    failure = perhaps_refused(failure, exchange, host)
    return (failure, exchange.host_key) if may_be_refusal(failure) else None
