"""Translate each decision into a sentence for users; pure."""

from __future__ import annotations

from trayagent.presentation.times import lasted
from trayagent.presentation.translation import _

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Mapping

_REFUSED = "the server refused the login: no retry until you request one or a key changes"
_UNUSABLE = "the key of the login could not be used: no retry until you request one or a key changes"

# Each entry is (verdict, row or None for any row, required evidence, sentence). The first match wins. Required evidence
# is a key, or a key and its value. Rows are those of the table in docs/architecture.md.
SENTENCES: tuple[tuple[str, int | None, tuple[str, ...], str], ...] = (
    # Draining masters.
    (
        "draining",
        None,
        ("control_path=taken",),
        "another ssh took the control path: the sessions of the earlier connection continue",
    ),
    ("draining", None, (), "the sessions of the old connection continue until they end"),
    ("drained", None, ("killed=True",), "the old connection was ended, with everything that still used it"),
    ("drained", None, ("carries=nothing",), "the old connection carried nothing any more and was ended"),
    ("drained", None, (), "the old connection ended"),
    ("beside-ended", None, (), "the agent ended a dead ssh beside the master: its terminal is free again"),
    ("suspect", None, ("draining",), "the network under the old connection changed: its sessions are kept"),
    ("offline", None, ("draining",), "there is no usable route: the sessions of the old connection wait"),
    ("moved", None, ("draining",), "the kernel moved the old connection to another address"),
    ("bare-control", None, ("draining",), "the old address is gone: the agent checks whether the server answers"),
    ("kill", None, ("draining",), "the server answers and the old connection's address is gone: it was ended"),
    # Hosts that roam.
    (
        "roaming-begins",
        None,
        ("at=terminal",),
        "you logged in: a second login follows at the terminal, so that moves need none",
    ),
    ("roaming-begins", None, (), "connected: the agent now sets up roaming"),
    ("roams", None, ("port=none",), "the host roams, but its roam_port is taken on the server: moves use ssh"),
    ("roams", None, ("outer=none",), "sessions from before the agent started wait until the host is connected"),
    ("roams", None, (), "the host roams: its sessions survive a change of network"),
    ("stays-plain", None, ("code=refused",), "the server refused the login from its own address: no roaming"),
    (
        "stays-plain",
        None,
        ("code=no-session",),
        "the server allows no more sessions on its connection (MaxSessions): roaming begins later",
    ),
    ("stays-plain", None, ("code=given-up",), "you ended the second login: no roaming until the next login"),
    ("stays-plain", None, ("code=no-port",), "its roam_port is taken on the server: no roaming until the next login"),
    ("stays-plain", None, ("lasting=True",), "its server cannot keep sessions across networks: no roaming"),
    ("stays-plain", None, (), "roaming could not begin: the agent tries again later"),
    ("attach", None, (), "the agent moves the sessions to the new connection"),
    ("attached", None, ("by=standby",), "its sessions continue through the standby, without a login"),
    ("attached", None, ("by=port",), "its new connection is ready, and its sessions stay on the direct port"),
    ("attached", None, (), "its sessions continue"),
    ("attached-by-port", None, (), "its sessions continue through the direct port, which needs no login"),
    (
        "port-failed",
        None,
        (),
        "the direct port does not answer, perhaps because of a firewall: its sessions wait for the new connection",
    ),
    ("attach-failed", None, ("code=other-machine",), "the name led to another machine: its sessions wait"),
    ("attach-failed", None, ("code=no-python",), "python3 does not start on the server: its sessions wait"),
    ("attach-failed", None, ("code=no-shell",), "its server runs no commands for the account: its sessions wait"),
    (
        "attach-failed",
        None,
        ("code=near-relay-silent",),
        "the relay of its sessions on this machine does not answer: they wait",
    ),
    (
        "attach-failed",
        None,
        ("code=unsafe-folder",),
        "other users can open the directory of its relay on the server: its sessions wait",
    ),
    (
        "attach-failed",
        None,
        ("code=far-relay-unseen",),
        "a login does not show whether the relay of its sessions still runs: they wait",
    ),
    (
        "attach-failed",
        None,
        ("code=far-relay-unreachable",),
        "the relay of its sessions runs on the server, but its socket was deleted or moved: they wait",
    ),
    ("attach-failed", None, ("code=server-rebooted",), "its server rebooted: its sessions end"),
    (
        "attach-failed",
        None,
        ("code=far-relay-lost",),
        "the relay that kept its sessions on the server is gone: the sessions end",
    ),
    ("attach-failed", None, (), "its sessions could not continue yet: they wait"),
    ("away", None, (), "its connection was lost: its sessions wait"),
    ("roaming-ended", None, ("by_request=True",), "you ended the connection with its sessions"),
    ("roaming-ended", None, (), "the connection with its sessions ended"),
    (
        "probe",
        None,
        ("data=unacknowledged",),
        "data that you sent was not acknowledged: the agent probes the connection",
    ),
    # The spare master on a second network.
    ("standby-begins", None, (), "a login makes a standby on a second network"),
    ("standby-ready", None, (), "the standby is ready: it waits until this network is lost"),
    ("standby-lost", None, (), "the standby is lost: the agent makes the next one later"),
    ("standby-ended", None, ("why=tunnel",), "a tunnel is up that may have to carry everything: the standby ended"),
    ("standby-ended", None, ("why=metered",), "the second network is metered: the standby ended"),
    ("standby-ended", None, (), "the standby ended"),
    ("standby-asked", None, (), "the network of its connection is lost: the agent checks the standby"),
    ("standby-answers", None, (), "the standby answers and takes over"),
    ("muted", None, (), "a tunnel carries its server now: the connection, a standby before, sends nothing beside it"),
    ("unmuted", None, (), "no tunnel carries its server any more: the connection, a standby before, sends again"),
    ("replace", 9, ("standby",), "the standby answers and replaces the old connection, which does not"),
    ("replace", None, ("standby",), "the standby replaces the old connection, whose network is lost"),
    ("put in place", None, ("standby",), "the standby replaces the old connection, which ended"),
    # Events: masters that start or end, and decisions of the user.
    ("suspect", None, (), "the network under its connection changed: the agent checks the connection"),
    ("adopt", None, ("owner",), "another name of its account has a new connection, and it uses that one, too"),
    ("leaves", None, (), "its ControlPath changed: it leaves the connection that it shared"),
    ("adopt", None, (), "a master was found: the agent adopts it"),
    ("name-removed", None, (), "you removed its name: its connection is kept while it lives, without a new login"),
    ("ended", None, ("by=port",), "the connection of the last login ended, and the direct port carries the sessions"),
    ("ended", None, ("suspect=True",), "its connection ended while it was in doubt"),
    ("ended", None, ("by_request=True",), "you ended its connection (ssh -O exit)"),
    (
        "ended",
        None,
        ("started_by=other",),
        "its connection ended: the agent did not start it, so it cannot tell whether you ended it",
    ),
    ("ended", None, (), "its connection ended"),
    ("forward-failed", None, (), "a forward could not be opened: the agent tries again"),
    ("forward-found", None, (), "you gave a forward by hand: it comes back after a change of network"),
    ("forward-unknown", None, (), "a forward by hand has an unknown target: it ends when the network changes"),
    ("forward-ended", None, (), "a forward by hand ended with the old connection: its target was unknown"),
    ("forward-given-up", None, (), "another program has the port: the agent no longer restores this forward"),
    ("connected", None, ("by=standby",), "connected: the standby is in place"),
    ("connected", None, (), "connected: a new connection is in place"),
    ("user", None, ("request=reconnect",), "you requested a new connection"),
    ("user", None, ("request=disconnect",), "you disconnected it: it stays disconnected until you reconnect it"),
    ("user", None, ("request=stop",), "you stopped the agent and its masters: this connection ended"),
    ("user", None, ("request=login",), "you are logging in at a terminal"),
    ("user", None, (), "you requested this"),
    # Reasons to wait or to send nothing.
    ("offline", None, ("connectivity=portal",), "this network requires a sign-in first: the agent sends nothing"),
    ("offline", None, ("vpn",), "its VPN is down: the agent sends nothing"),
    ("offline", None, ("learned_vpn",), "the VPN through which it was reached is down: the agent sends nothing"),
    ("offline", None, (), "there is no usable route: the agent sends nothing"),
    ("end", None, (), "its network did not return in time: the agent ended the waiting connection"),
    ("wait", None, ("standby",), "waiting for the answer of the standby"),
    ("wait", None, ("jump",), "waiting for its jump host"),
    ("wait", None, ("carrier",), "waiting for the verdict on the connection that carries this one"),
    ("wait", None, ("busy",), "waiting: the limit of logins to this server is reached"),
    ("wait", None, ("by",), "waiting: its server may be one that refused two logins of another host"),
    ("wait", None, ("account=refused",), "waiting: its account refused two logins in ten minutes"),
    ("wait", None, ("account",), "waiting: another login to its account is in progress"),
    ("check-banner", None, (), "the agent checks, without a login, whether its server answers again"),
    ("banner-missing", None, (), "its server does not answer yet"),
    ("held-back", None, (), "the same login was refused for another host: this host waits until that is fixed"),
    ("wait", None, ("network=changing",), "waiting until the network is stable: its last login got no answer"),
    ("wait", None, ("cut_short",), "waiting: its last connection ended right after the login"),
    ("wait", None, ("logins",), "waiting: there were too many logins to it in a few minutes"),
    ("wait", None, ("control=left_to_finish",), "waiting for the end of a login that is no longer needed"),
    ("wait", None, ("login_at_prompt",), "waiting for your login to another host"),
    ("wait", None, ("control=bare",), "the check of the server, without a login, runs; the old connection is kept"),
    ("wait", None, ("control=running",), "a new login is running; the old connection is kept"),
    ("wait", None, ("control=impossible",), "a new login would prove nothing here: the old connection is kept"),
    ("wait", None, ("control=negative",), "the last new login failed: the old connection is kept"),
    ("wait", 3, (), "the laptop woke up or the network under the tunnel changed: waiting a moment"),
    ("wait", 4, ("adrift",), "the kernel is moving its connection to another address: waiting for it to arrive"),
    ("wait", 4, ("interface",), "its network interface has no address: waiting up to 4 s for the same address"),
    ("wait", 4, (), "its local address is gone: waiting a moment for it to return"),
    ("wait", 5, ("address=tentative",), "its local address is not usable yet: waiting"),
    ("wait", 5, (), "waiting for the answer to the probe"),
    ("wait", None, ("stopped",), "a process of its connection is suspended and cannot read an answer: waiting for it"),
    ("wait", 6, ("unsent",), "ssh has not sent the probe yet: waiting for that"),
    ("wait", 6, (), "data is still being acknowledged: waiting for the answer, which may be queued behind other data"),
    ("wait", 8, (), "the route works: the old connection gets one more chance to answer"),
    ("wait", None, (), "waiting"),
    # Probes of the old connection, and new logins beside it.
    (
        "moved",
        None,
        ("datagrams",),
        "its local address is gone, but UDP or another program may carry the connection: the agent probes it",
    ),
    ("moved", None, (), "the kernel moved its connection to another address: the agent probes it there"),
    ("mptcp", None, ("outcome=answered",), "its server speaks Multipath TCP: new connections move with the laptop"),
    ("mptcp", None, ("outcome=dropped",), "this network drops Multipath TCP: connections from here are plain TCP"),
    ("mptcp-tunnel", None, (), "a VPN for everything is up: connections are plain TCP for the next 90 days"),
    ("mptcp", None, (), "no Multipath TCP on this network: connections from here are plain TCP"),
    ("probe", None, (), "its network path changed: the agent probes the old connection"),
    ("second probe", None, (), "no answer yet: the agent sends a different probe through the old connection"),
    ("observe", None, (), "no answer yet: reading the kernel's statistics of the old connection"),
    ("keep", None, ("by=mptcp",), "the connection moved to the new address (MPTCP) and works: it is kept"),
    ("keep", None, (), "the old connection works: it is kept"),
    ("control", None, ("control=bare",), "the old connection is in doubt: the agent checks its server without a login"),
    ("control", 3, ("muted",), "a VPN came up: a new login starts in it, since the old connection is beside it"),
    ("control", 3, ("mptcp",), "a VPN came up: a new login starts in it, since the old connection may go beside it"),
    ("control", 3, (), "the laptop woke up or the network under the tunnel changed: a new login starts beside it"),
    ("control", 4, (), "its local address is gone: a new login starts beside the old connection"),
    ("control", 7, (), "the old connection is silent: a new login starts beside it"),
    ("control", None, (), "the old connection is in doubt: a new login starts beside it"),
    (
        "dial",
        None,
        ("purpose=control", "address"),
        "a new login started at the old connection's own address; nothing is ended yet",
    ),
    ("dial", None, ("purpose=control",), "a new login started; nothing is ended yet"),
    ("dial", None, ("purpose=user",), "a new login started, as you requested"),
    ("dial", None, (), "not connected: a login started"),
    ("redial", None, (), "another route appeared before any answer: a second connection starts beside the first"),
    ("bare-control", None, (), "the agent checks, without a login, whether the server answers; nothing is ended yet"),
    ("grace", None, (), "the route works: the old connection gets one more chance to answer"),
    # Results of probes and logins.
    ("replace", 0, ("old=answers",), "the new login succeeded; the sessions of the old connection continue"),
    ("replace", 0, ("old=acknowledges",), "the new login succeeded; the sessions of the old connection continue"),
    ("replace", 0, ("old=silent",), "the new login succeeded; the old connection did not answer and was ended"),
    ("replace", 0, (), "the new login succeeded and replaces the old connection, as you requested"),
    ("replace", 9, ("muted",), "the new login in the VPN replaces the connection beside it"),
    ("replace", 9, ("tunnel",), "the new login in the VPN replaces the connection, which could go beside it (MPTCP)"),
    ("replace", 9, ("ssh_config",), "ssh_config has a new address: the login there replaces the silent connection"),
    (
        "replace",
        9,
        ("host_key=other",),
        "a login with another known host key replaces the old connection, whose address is gone",
    ),
    (
        "replace",
        9,
        ("address=gone",),
        "the new login replaces the old connection, whose address is gone",
    ),
    ("replace", 9, (), "the new login replaces the old connection, which stays silent and is therefore stale"),
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
    (
        "failed",
        10,
        ("kind=other-address",),
        "another address of its name answered: the old connection is kept, and its own address is tried next",
    ),
    ("failed", 10, ("retry=never",), "the new login failed and is not repeated: the old connection is kept"),
    ("failed", 10, (), "the new login failed: the old connection is kept, and the agent retries later"),
    ("failed", None, ("retry=never",), "the login failed: no retry until something changes"),
    ("failed", None, (), "the login failed: the agent retries later"),
    ("resolve-failed", None, ("kept=True",), "ssh -G failed: the agent uses its previous answer"),
    ("resolve-failed", None, (), "ssh -G failed: the host cannot be connected yet"),
    ("sign-in-needed", None, (), "only you can log in: the agent waits for you"),
    ("re-arm", None, ("credentials",), "a key, the ssh-agent or known_hosts changed: the agent retries"),
    ("re-arm", None, ("banner",), "its server answers: the agent tries one login before the back-off is over"),
    ("re-arm", None, ("answered",), "its server let another host in: the agent retries at once"),
    ("re-arm", None, (), "the obstacle on this machine is gone: the agent retries"),
    # Key trials and other work while the connection is up.
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
    """Return what the decision means, None if there is no sentence for it. `pairs` are its evidence.

    If there was no network before, the sentence also says for how long, and how long the recovery took after that.
    """
    known = {key for key, _value in pairs} | {f"{key}={value}" for key, value in pairs}
    for name, only, needed, text in SENTENCES:
        if name == verdict and only in {None, row} and known.issuperset(needed):
            return _(text) + _parts(dict(pairs))
    return None


def _parts(evidence: Mapping[str, str]) -> str:
    """Return for example " (no network for 20 s, then back in 900 ms)", or "" if there was a network all the time."""
    network, took = (_lasted(evidence.get(key)) for key in ("no_network_ms", "took_ms"))
    if not network:
        return ""
    words = _(" (no network for {time}, then back in {recovery})") if took else _(" (no network for {time})")
    return words.format(time=network, recovery=took)


def _lasted(milliseconds: str | None) -> str:
    try:
        return lasted(float(milliseconds or "") / 1000)
    except ValueError:
        return ""  # there is no such time
