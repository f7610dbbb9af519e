"""What each decision means, in a sentence for people; pure."""

from __future__ import annotations

_REFUSED = "the server refused the login: not tried again until you say so or a key changes"
_UNUSABLE = "the login's key could not be used: not tried again until you say so or a key changes"

# (verdict, row or None for any, beginnings of words that the evidence must have, sentence); the first that fits.
# Rows are those of docs/architecture.md; the last entry of a verdict may ask for no evidence.
SENTENCES: tuple[tuple[str, int | None, tuple[str, ...], str], ...] = (
    # What happened.
    ("suspect", None, (), "the network under its connection changed: is it still alive?"),
    ("adopt", None, (), "a connection was found: it is looked after from now on"),
    ("ended", None, ("suspect=True",), "its connection ended while its network was in doubt"),
    ("ended", None, (), "its connection ended"),
    ("connected", None, (), "connected: a new connection is in place"),
    ("user", None, ("asked=reconnect",), "you asked for a new connection"),
    ("user", None, ("asked=disconnect",), "you took it down: it stays down until you reconnect it"),
    ("user", None, ("asked=login",), "you log in at a terminal"),
    ("user", None, (), "you asked for it"),
    # No way, or not yet.
    ("offline", None, ("connectivity=portal",), "this network wants a sign-in page first: nothing is sent"),
    ("offline", None, ("vpn=",), "its VPN is down: nothing is sent"),
    ("offline", None, ("learned_vpn=",), "it was reached through a VPN that is down: nothing is sent"),
    ("offline", None, (), "no way to it: nothing is sent"),
    ("end", None, (), "its own network did not come back in time: the waiting connection is ended"),
    ("wait", None, ("jump=",), "it waits for its jump host, which comes first"),
    ("wait", None, ("carrier=",), "it runs through another connection, which is judged first"),
    ("wait", None, ("busy=",), "enough logins are under way or were made: it waits for its turn"),
    ("wait", None, ("person_asked_for=",), "you are being asked for another host: it waits for that"),
    ("wait", None, ("control=running",), "a new login is under way: the old connection is kept meanwhile"),
    ("wait", None, ("control=impossible",), "no new login can prove anything here: the old connection is kept"),
    ("wait", None, ("control=negative",), "the last new login failed: the old connection is kept until the next"),
    ("wait", None, ("control=positive",), "the way works and the old connection is cut off: the login is finished"),
    ("wait", 3, (), "the machine woke up or its tunnel's network changed: it is given a moment"),
    ("wait", 4, (), "its address is gone: it is given a moment to return"),
    ("wait", 5, ("address=tentative",), "its address may not be used yet: it waits for that"),
    ("wait", 5, (), "the old connection was asked: its answer is waited for"),
    ("wait", 8, (), "the way works: the old connection gets one more chance to answer"),
    ("wait", None, (), "it waits"),
    # The old connection is asked, and a new login begun beside it.
    ("probe", None, (), "its path changed: the old connection is asked whether it still works"),
    ("observe", None, (), "no answer yet: the kernel is asked what it saw of the old connection"),
    ("keep", None, (), "the old connection works: it is kept"),
    ("control", 3, (), "the machine woke up or its tunnel's network changed: a new login begins beside it"),
    ("control", 4, (), "its address is gone: a new login begins beside it"),
    ("control", 7, (), "the old connection is silent: a new login begins beside it"),
    ("control", None, (), "the old connection is in doubt: a new login begins beside it"),
    ("dial", None, ("purpose=control",), "a new login began; nothing is ended yet"),
    ("dial", None, ("purpose=user",), "a new login began, as you asked"),
    ("dial", None, (), "not connected: a login began"),
    ("knock", None, (), "the server is only knocked at, nobody logs in; nothing is ended yet"),
    ("grace", None, (), "the way works: the old connection gets one more chance to answer"),
    # What came of it.
    ("replace", 0, (), "the login works: it takes the old connection's place, as you asked"),
    ("replace", 9, ("address=gone",), "the login works and the old one's address is gone: proven cut off, replaced"),
    ("replace", 9, (), "the login works and the old one stays silent: proven cut off, replaced"),
    ("replace", None, (), "the login works: it takes the old connection's place"),
    ("put in place", None, (), "the login works: the new connection is put in place"),
    ("kill", None, ("control=refused",), "the server refused the login, and the old one is proven cut off: ended"),
    ("kill", None, (), "the server answers and the old connection cannot: proven cut off, ended"),
    ("failed", None, ("kind=auth", "retry=never"), _REFUSED),
    ("failed", None, ("kind=too-many-keys", "retry=never"), _REFUSED),
    ("failed", None, ("kind=key-file", "retry=never"), _UNUSABLE),
    ("failed", None, ("kind=passphrase", "retry=never"), _UNUSABLE),
    ("failed", None, ("kind=host-key", "retry=never"), "the server's key is not known or changed: you must decide"),
    ("failed", None, ("kind=dropped",), "the server closed the connection before the login: it is tried again later"),
    ("failed", None, ("login=at_terminal",), "the login at the terminal came to nothing: all is as before"),
    ("failed", 10, ("retry=never",), "the new login failed and is not repeated: the old connection is kept"),
    ("failed", 10, (), "the new login failed: the old connection is kept, and it is tried again later"),
    ("failed", None, ("retry=never",), "the login failed: not tried again until something changes"),
    ("failed", None, (), "the login failed: it is tried again later"),
    ("resolve-failed", None, ("kept=True",), "ssh -G failed: what it said before still holds"),
    ("resolve-failed", None, (), "ssh -G failed: it cannot be connected yet"),
    ("sign-in-needed", None, (), "only you can log in there: nothing is tried until you do"),
    ("re-arm", None, ("credentials=",), "a key, the ssh-agent or known_hosts changed: it may be tried again"),
    ("re-arm", None, (), "what was in the way on this machine is gone: it is tried again"),
    # Beside a connection that works.
    ("try-keys", None, (), "a key changed: whether it still lets you in is tried beside the connection"),
    ("keys-pass", None, (), "the changed keys let you in"),
    ("keys-refused", None, (), "the server refuses the changed keys; the connection is kept"),
    ("keys-unknown", None, (), "whether the changed keys let you in could not be found out"),
    ("keys-not-tried", None, (), "the changed keys were not tried"),
    ("agent-socket", None, (), "the link to your ssh-agent on the far side was looked after"),
    ("reap", None, (), "your own lost sessions on the server were looked for, and ended"),
    ("no-reap", None, (), "your own lost sessions on the server could not be looked for"),
)  # fmt: skip


def sentence(row: int, verdict: str, evidence: str) -> str | None:
    """Return what the decision means, None for one that nobody has put in words."""
    words = evidence.split()
    for name, only, needed, text in SENTENCES:
        if name != verdict or only not in {None, row}:
            continue
        if all(any(word.startswith(begin) for word in words) for begin in needed):
            return text
    return None
