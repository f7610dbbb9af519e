"""Translate each decision into a sentence for users; pure."""

from __future__ import annotations

_REFUSED = "the server refused the login: no retry until you ask for it or a key changes"
_UNUSABLE = "the key of the login could not be used: no retry until you ask for it or a key changes"

# (verdict, row or None for any, required evidence, sentence); the first match wins. The evidence is a key, or a key
# and its value. Rows are those of docs/architecture.md. The last entry of a verdict may require no evidence.
SENTENCES: tuple[tuple[str, int | None, tuple[str, ...], str], ...] = (
    # An earlier master of the host, beside the present one.
    ("draining", None, (), "the sessions of the old connection go on until they end"),
    ("drained", None, ("killed=True",), "the old connection was ended, with everything that still used it"),
    ("drained", None, ("carries=nothing",), "the old connection carries nothing any more: it was ended"),
    ("drained", None, (), "the old connection ended"),
    ("suspect", None, ("draining",), "the network under the old connection changed: its sessions are kept"),
    ("offline", None, ("draining",), "there is no usable route: the sessions of the old connection wait"),
    ("moved", None, ("draining",), "the kernel moved the old connection to another address"),
    ("knock", None, ("draining",), "the local address of the old connection is gone: does its server answer?"),
    ("kill", None, ("draining",), "the server answers and the old connection's address is gone: it was ended"),
    # What happened.
    ("suspect", None, (), "the network under its connection changed: is it still alive?"),
    ("adopt", None, (), "a master was found: the agent adopts it"),
    ("ended", None, ("suspect=True",), "its connection ended while the network was in doubt"),
    ("ended", None, (), "its connection ended"),
    ("connected", None, (), "connected: a new connection is in place"),
    ("user", None, ("asked=reconnect",), "you asked for a new connection"),
    ("user", None, ("asked=disconnect",), "you disconnected it: it stays disconnected until you reconnect it"),
    ("user", None, ("asked=login",), "you are logging in at a terminal"),
    ("user", None, (), "you asked for it"),
    # No route, or not yet.
    ("offline", None, ("connectivity=portal",), "this network requires a sign-in page first: nothing is sent"),
    ("offline", None, ("vpn",), "its VPN is down: nothing is sent"),
    ("offline", None, ("learned_vpn",), "the VPN through which it was reached is down: nothing is sent"),
    ("offline", None, (), "there is no usable route: nothing is sent"),
    ("end", None, (), "its network did not return in time: the waiting connection was ended"),
    ("wait", None, ("jump",), "waiting for its jump host"),
    ("wait", None, ("carrier",), "waiting for the verdict on the connection that carries it"),
    ("wait", None, ("busy",), "waiting for its turn: enough logins to this server are running or were made"),
    ("wait", None, ("account=refused",), "waiting: its account refused two logins in ten minutes"),
    ("wait", None, ("account",), "waiting for its turn: another login to its account is under way"),
    ("check-banner", None, (), "the agent checks, without a login, whether its server answers again"),
    ("banner-missing", None, (), "its server does not answer yet"),
    ("held-back", None, (), "the same login was refused for another host, so it is held back until that is fixed"),
    ("wait", None, ("logins",), "waiting: there were too many logins to it in a few minutes"),
    ("wait", None, ("control=left_to_finish",), "waiting for the end of a login that is no longer needed"),
    ("wait", None, ("person_asked_for",), "waiting for your login to another host"),
    ("wait", None, ("control=running",), "a new login is running; the old connection is kept"),
    ("wait", None, ("control=impossible",), "no new login can prove anything here: the old connection is kept"),
    ("wait", None, ("control=negative",), "the last new login failed: the old connection is kept"),
    ("wait", None, ("control=positive",), "the route works: waiting for the login to finish"),
    ("wait", 3, (), "the laptop woke up or the network under the tunnel changed: waiting a moment"),
    ("wait", 4, ("adrift",), "the kernel is moving its connection to another address: waiting for it to arrive"),
    ("wait", 4, (), "its local address is gone: waiting a moment for it to return"),
    ("wait", 5, ("address=tentative",), "its local address is not usable yet: waiting"),
    ("wait", 5, (), "waiting for the answer to the probe"),
    ("wait", None, ("stopped",), "a process of its connection is suspended and cannot read an answer: waiting for it"),
    ("wait", 6, (), "data is still being acknowledged: waiting for the answer, which may be queued behind other data"),
    ("wait", 8, (), "the route works: the old connection gets one more chance to answer"),
    ("wait", None, (), "waiting"),
    # The old connection is probed, and a new login starts beside it.
    ("moved", None, (), "the kernel moved its connection to another address: it is probed there"),
    ("probe", None, (), "its network path changed: the old connection is probed"),
    ("ask again", None, (), "no answer yet: a second, different question is sent through the old connection"),
    ("observe", None, (), "no answer yet: reading the kernel's statistics of the old connection"),
    ("keep", None, (), "the old connection works: it is kept"),
    ("control", 3, (), "the laptop woke up or the network under the tunnel changed: a new login starts beside it"),
    ("control", 4, (), "its local address is gone: a new login starts beside it"),
    ("control", 7, (), "the old connection is silent: a new login starts beside it"),
    ("control", None, (), "the old connection is in doubt: a new login starts beside it"),
    ("dial", None, ("purpose=control",), "a new login started; nothing is ended yet"),
    ("dial", None, ("purpose=user",), "a new login started, as you asked"),
    ("dial", None, (), "not connected: a login started"),
    ("redial", None, (), "another route appeared before any answer: a second connection starts beside the first"),
    ("knock", None, (), "the agent checks, without a login, whether the server answers; nothing is ended yet"),
    ("grace", None, (), "the route works: the old connection gets one more chance to answer"),
    # The results.
    ("replace", 0, ("old=answers",), "the new login succeeded; the sessions of the old connection go on"),
    ("replace", 0, ("old=acknowledges",), "the new login succeeded; the sessions of the old connection go on"),
    ("replace", 0, ("old=silent",), "the new login succeeded; the old connection did not answer and was ended"),
    ("replace", 0, (), "the new login succeeded and replaces the old connection, as you asked"),
    ("replace", 9, ("ssh_config",), "ssh_config has a new address: the login there replaces the silent connection"),
    ("replace", 9, ("address=gone",), "the login succeeded, the old address is gone: the old connection was replaced"),
    ("replace", 9, (), "the login succeeded, the old one stays silent: the stale connection was replaced"),
    ("replace", None, (), "the new login succeeded and replaces the old connection"),
    ("put in place", None, (), "the login succeeded"),
    ("kill", None, ("control=refused",), "the server refused the login: the silent connection is stale and was ended"),
    ("kill", None, (), "the server answers and the old connection does not: it is stale and was ended"),
    ("failed", None, ("kind=auth", "retry=never"), _REFUSED),
    ("failed", None, ("kind=too-many-keys", "retry=never"), _REFUSED),
    ("failed", None, ("kind=key-file", "retry=never"), _UNUSABLE),
    ("failed", None, ("kind=passphrase", "retry=never"), _UNUSABLE),
    ("failed", None, ("kind=host-key", "retry=never"), "the server's host key is unknown or changed: you must decide"),
    ("failed", None, ("kind=proxy-login", "retry=never"), "the ProxyCommand needs a login: only you can log in"),
    ("failed", None, ("kind=dropped",), "the server closed the connection before the login: the agent retries later"),
    ("failed", None, ("kind=closed",), "the server closed the connection during the login: perhaps a refusal"),
    ("failed", None, ("kind=stalled",), "this network swallows large packets: the agent retries later"),
    ("failed", None, ("login=at_terminal",), "the login at the terminal failed: nothing changed"),
    ("failed", 10, ("retry=never",), "the new login failed and is not repeated: the old connection is kept"),
    ("failed", 10, (), "the new login failed: the old connection is kept, and the agent retries later"),
    ("failed", None, ("retry=never",), "the login failed: no retry until something changes"),
    ("failed", None, (), "the login failed: the agent retries later"),
    ("resolve-failed", None, ("kept=True",), "ssh -G failed: its previous answer still holds"),
    ("resolve-failed", None, (), "ssh -G failed: the host cannot be connected yet"),
    ("sign-in-needed", None, (), "only you can log in: nothing is tried until you do"),
    ("re-arm", None, ("credentials",), "a key, the ssh-agent or known_hosts changed: a retry is allowed"),
    ("re-arm", None, ("banner",), "its server answers: one login is allowed before the back-off is over"),
    ("re-arm", None, ("answered",), "its server let another host in: the agent retries at once"),
    ("re-arm", None, (), "the obstacle on this machine is gone: the agent retries"),
    # Beside a connection that works.
    ("try-keys", None, (), "a key changed: a login beside the connection checks whether it works"),
    ("keys-pass", None, (), "the changed keys work"),
    ("keys-refused", None, (), "the server refuses the changed keys; the connection is kept"),
    ("keys-unknown", None, (), "it is unknown whether the changed keys work"),
    ("keys-not-tried", None, (), "the changed keys were not tried"),
    ("agent-socket", None, (), "the link to your ssh-agent on the server was updated"),
    ("reap", None, (), "your lost sessions on the server were found and ended"),
    ("no-reap", None, (), "your lost sessions on the server could not be checked"),
)  # fmt: skip


def sentence(row: int, verdict: str, pairs: list[list[str]]) -> str | None:
    """Return what the decision means, None if there is no sentence for it. `pairs` are its evidence."""
    known = {key for key, _ in pairs} | {f"{key}={value}" for key, value in pairs}
    for name, only, needed, text in SENTENCES:
        if name == verdict and only in {None, row} and known.issuperset(needed):
            return text
    return None
