"""Histories that broke an invariant once, each as short as it could be made."""

from __future__ import annotations

from tests.sim.histories import History, Step

# Logins are cut at the move to the cable and at the sleep. The server penalizes them 120 s later, and the hosts come
# home then.
_CUT_AND_PENALIZED: tuple[Step, ...] = (
    (0.0, "plug", "cable"),
    (0.0, "unplug", "wlan0"),
    (1.5, "docker", ""),
    (0.0, "sleep", "office"),
    (90.0, "docker", ""),
    (20.0, "connect", "git"),
    (20.0, "look", ""),
)

KNOWN: dict[str, History] = {
    # The address stayed on a radio that changed networks, while the packets left through the cable.
    "the radio behind the cable": (("stranger",), 0.3, ((0.0, "plug", "cable"), (0.0, "flapping", "twin"))),
    # A gateway at home sends a disconnect in the server's name; the old connection has lost one question only.
    "a forged disconnect": (
        ("web",),
        0.04,
        ((0.0, "liar", "home denied"), (0.0, "swallowed", "3.2"), (20.0, "look", "")),
    ),
    # Nobody checks host keys, and whoever answers lets us in.
    "a trap without host key checking": (
        ("open",),
        0.04,
        ((0.0, "liar", "cafe key in"), (4.0, "plug", "cafe"), (20.0, "look", "")),
    ),
    # The kernel moved the connection (MPTCP); its address of before is gone.
    "a connection that follows": (("roams",), 0.04, ((4.0, "plug", "cafe"), (4.0, "look", ""))),
    # The probe waits behind the session's own data, and only the jump host acknowledges.
    "an upload behind a jump host": (
        ("gate", "ship"),
        0.04,
        ((0.0, "upload", "ship"), (0.0, "blink", "home"), (20.0, "look", "")),
    ),
    "status during an upload": (
        ("gate", "rack0", "rack1"),
        0.004,
        ((90.0, "upload", "rack1"), (0.0, "look", "")),
    ),
    # A banner is no proof against silence.
    "an unnamed master at the office": (
        ("open", "stranger"),
        0.004,
        ((0.0, "plug", "office"), (0.6, "flicker", "address")),
    ),
    "twelve hosts, one refused key": (
        ("gate", *(f"rack{number}" for number in range(12))),
        0.3,
        ((0.0, "nologin", "outer"), (700.0, "look", "")),
    ),
    "trials of a refused key": (
        ("web2", "web3", "web4"),
        0.3,
        ((0.0, "credentials renewed", ""), (0.0, "credentials expired", "web")),
    ),
    "four hosts, two moves": (
        ("web1", "web2", "web3", "web4"),
        0.04,
        ((0.0, "plug", "cafe"), (0.7, "plug", "home"), (90.0, "look", "")),
    ),
    "a jump host reboots": (
        ("bastion", "inner", "deep"),
        0.04,
        ((0.0, "reboot", "outer"), (700.0, "look", "")),
    ),
    # What it is shown as: `checking` for minutes, with no word of what it waits for.
    "behind a jump host in a hole": (
        ("bastion", "inner"),
        0.04,
        ((0.0, "swallowed", "0.3"), (0.0, "hole", "home"), (90.0, "look", "")),
    ),
    "an unnamed master at the cafe": (("deploy",), 0.3, ((0.0, "blink", "cafe"), (700.0, "look", ""))),
    # A remembered name made a usual host of it, which waited for ever.
    "an unnamed master found again": (
        ("stranger",),
        0.3,
        ((0.0, "agent restarts", ""), (0.3, "plug", "twin_nat")),
    ),
    # An old master of the user's, found by the next agent, was taken for a login with a password after the refusal.
    "a restart after a refused key": (
        ("nas",),
        0.04,
        (
            (0.0, "liar", "home key"),
            (0.0, "keys changed", ""),
            (4.0, "agent restarts", ""),
            (4.0, "sleep", "cable"),
            (700.0, "carrier back", "wlan0"),
        ),
    ),
    # Rounding: the time had come, and had not.
    "a tunnel that changes its address thrice": (
        ("db",),
        0.004,
        tuple((pause, "vpn new address", "split") for pause in (1.5, 20.0, 0.17)),
    ),
    # The jump host waits for its server, and so does the host behind it.
    "behind a jump host that waits": (
        ("web", "behind", "web3"),
        0.004,
        ((0.0, "liar", "home denied"), (0.0, "flapping", "twin"), (90.0, "look", "")),
    ),
    # The banner was checked at the very moment at which another host's login was dropped.
    "banner checks beside dropped logins": (
        ("web2", "web3", "web4"),
        0.3,
        (
            (0.0, "reboot", "web"),
            (0.0, "dropping", "web"),
            (0.0, "tentative", "wlan0"),
            (700.0, "plug", "home"),
        ),
    ),
    # Two hosts of one server, and a VPN for everything: the one behind a jump host was counted elsewhere.
    "a jump host in a VPN": (
        ("ship", "bastion"),
        0.3,
        ((0.0, "vpn new address", "everything"), (20.0, "nologin", "deep"), (0.0, "flapping", "cafe")),
    ),
    # Three logins to one account were believed to leave through the Wi-Fi, and went through a VPN for everything.
    "a VPN takes over the route to a bastion": (
        ("rack0", "rack1", "rack2"),
        0.004,
        (
            (0.0, "credentials expired", "outer"),
            (0.0, "vpn new address", "everything"),
            (1.5, "hole over", ""),
        ),
    ),
    # A retransmission that came near later hid, for minutes, that the control waited for refused logins.
    "checking while an account is refused": (
        ("rack0", "rack1", "rack2"),
        0.004,
        (
            (0.0, "stuck", "rack2"),
            (0.0, "agent restarts", ""),
            (0.0, "credentials expired", "outer"),
            (0.6, "vpn new address", "everything"),
            (700.0, "files touched", ""),
        ),
    ),
    # TCP backed off in a network that led nowhere; back home its next retransmission was 4 s away.
    "away and back": (
        ("web",),
        0.04,
        ((0.0, "hole", "cafe"), (0.3, "and back", "cafe 8.0"), (90.0, "look", "")),
    ),
    # A gateway answered with another host key before the host was ever reached, which stopped it on all networks.
    "another key at the first network": (
        ("db",),
        0.3,
        ((0.0, "liar", "office key"), (0.0, "plug", "office"), (1.5, "docker", "")),
    ),
    # A login that began in the office moved to a network where five had just been cut.
    "a redialled login where five were cut": (
        ("lab",),
        0.3,
        (
            (0.0, "plug", "office"),
            (0.0, "sleep", "twin_nat"),
            (0.0, "flapping", "cafe"),
            (0.0, "blink", "cafe"),
        ),
    ),
    # Logins that began at home moved to a network where six had failed within a minute.
    "a redialled login where six failed": (
        ("web2",),
        0.04,
        (
            (0.0, "hole", "home"),
            (0.0, "flapping", "twin"),
            (180.0, "flapping", "twin"),
            (20.0, "flapping", "twin"),
        ),
    ),
    # The network went away during a reconnect, and the old master was probed once more.
    "a carrier lost during a reconnect": (
        ("web",),
        0.3,
        ((0.0, "reconnect", "web"), (0.6, "liar", "home going down"), (0.0, "carrier lost", "wlan0")),
    ),
    # A refused reconnect stayed the running control of a path that had changed since.
    "a refused reconnect, then another path": (
        ("adhoc",),
        0.004,
        (
            (0.0, "accounts expired", "web"),
            (0.0, "vpn new address", "everything"),
            (90.0, "vpn new address", "everything"),
            (0.0, "nologin", "web"),
            (5.67, "connect", "adhoc"),
            (1.5, "flapping", "cafe"),
            (20.0, "vpn new address", "split"),
            (4.4, "blink", "home"),
            (0.0, "reconnect", "adhoc"),
            (0.1, "vpn new address", "everything"),
        ),
    ),
    # A banner check was begun although five connections hung at the server; the next move cut it.
    "banner checks while a network flaps": (
        ("bastion",),
        0.3,
        ((0.0, "hole", "home"), (700.0, "connect", "touch"), (0.0, "flapping", "cafe")),
    ),
    # The server's gateway saw one client, and the agent counted its Wi-Fi and its cable apart.
    "cut logins on a Wi-Fi, then on a cable": (
        ("web", "web2"),
        0.04,
        ((0.0, "sleep", "cable"), (0.6, "unplug", "wlan0"), (0.1, "sleep", "")),
    ),
    # A refusal that began before the last doubt is no control, and stayed as one for good.
    "a late end of the user's own attempt": (
        ("web2",),
        0.3,
        (
            (0.0, "reconnect", "web2"),
            (1.5, "resume", "web2"),
            (0.6, "vpn new address", "everything"),
            (700.0, "keys changed", ""),
        ),
    ),
    # The refusal of the user's own attempt was a control, and with it a paused agent ended the old connection.
    "a refused reconnect in a pause": (
        ("db",),
        0.04,
        (
            (0.0, "vpn up", "everything"),
            (90.0, "agent restarts", ""),
            (0.0, "pause", ""),
            (0.0, "vpn new address", "split"),
            (0.0, "credentials expired", "internal"),
            (0.0, "reconnect", "db"),
        ),
    ),
    # The cable's network stayed the same, and only the Wi-Fi, through which answers come, was elsewhere.
    "a radio that returns behind the cable": (
        ("rack0", "rack1", "rack2"),
        0.04,
        ((0.0, "plug", "cable"), (0.3, "flapping", "twin"), (1.5, "docker", "")),
    ),
    # The cut login had been redialled on the other network, and was counted where it began.
    "a redialled login while a network flaps": (
        ("roams",),
        0.04,
        ((0.0, "and back", "cafe 0.9"), (0.0, "flapping", "twin")),
    ),
    # The user's reconnect waited for two other logins to the account, and the host was shown as `checking`.
    "a reconnect behind two trials": (
        ("web2", "web3", "web4"),
        0.3,
        (
            (0.0, "vpn new address", "everything"),
            (700.0, "credentials renewed", ""),
            (0.0, "and back", "twin 8.0"),
            (1.5, "reconnect", "web4"),
            (0.0, "plug", "twin"),
            (700.0, "and back", "cafe 8.0"),
        ),
    ),
    # Only a jump host's TCP acknowledged: it waits a minute for the answer, and the host behind it waits for that.
    "behind a jump host that waits for an answer": (
        ("inner", "deep"),
        0.3,
        (
            (0.0, "sleep", "office"),
            (700.0, "flicker", "route"),
            (0.0, "reboot", "inner"),
            (0.3, "hole", "office"),
            (90.0, "look", ""),
        ),
    ),
    # The next agent did not know that a jump host had refused the logins, and tried a third one there.
    "refused at a jump host before a restart": (
        ("rack1", "rack2"),
        0.3,
        (
            (0.0, "blink", "cafe"),
            (20.0, "flapping", "twin"),
            (0.0, "credentials expired", "outer"),
            (90.0, "files touched", ""),
            (0.0, "agent restarts", ""),
        ),
    ),
    # The server penalized three cut logins until 49 s after the return. The agent checked its banner 11 s before that,
    # and then not for 29 s, because the next login was due in 28 s.
    "home before the penalties are over": (("open", "adhoc", "git"), 0.3, _CUT_AND_PENALIZED),
    # The kernel was queried twice; the second report was older than the new probe, and was counted for it.
    "two reports on one upload": (
        ("rack0", "rack1", "web"),
        0.04,
        ((0.0, "upload", "rack1"), (0.0, "blink", "home"), (4.0, "swallowed", "3.2")),
    ),
    # The server dropped the controls for a while. Nobody checked its banner, so the hosts waited for the whole pause.
    "controls that the server drops": (("adhoc", "git"), 0.3, _CUT_AND_PENALIZED),
    # A host without a host key check had logged in to a liar. Its own server's refusal was taken for another machine's.
    "a refusal by an unexpected key": (
        ("old", "web1", "wiki"),
        0.3,
        (
            (0.0, "liar", "cafe key in"),
            (20.0, "agent restarts", ""),
            (4.0, "credentials expired", "web"),
            (4.0, "plug", "cafe"),
            (20.0, "files touched", ""),
            (20.0, "reconnect", "old"),
            (4.0, "files touched", ""),
        ),
    ),
    # All hosts tried again at once, were dropped together, and used up what the server allows in a minute.
    "three hosts that a server drops": (("roams", "adhoc", "git"), 0.3, _CUT_AND_PENALIZED),
    # A control that was no longer wanted was refused. Once the old connection died, nothing said why no login followed.
    "refused when it was no longer wanted": (
        ("deep", "well", "ship"),
        0.004,
        (
            (0.0, "plug", "office"),
            (90.0, "credentials expired", "outer"),
            (0.0, "sleep", "office"),
            (1.5, "sleep", "twin"),
            (4.0, "nologin", "outer"),
            (700.0, "accounts expired", "internal"),
        ),
    ),
    # The next agent found the draining master first, and forgot that its unlisted host was paused.
    "a pause while a master drains": (
        ("adhoc",),
        0.004,
        (
            (0.0, "session", "adhoc"),
            (0.0, "reconnect", "adhoc"),
            (4.0, "pause", "adhoc"),
            (0.0, "agent restarts", ""),
        ),
    ),
    # The first logins to a name went through a VPN for everything, and were counted on the Wi-Fi: six were cut.
    "a first login through a VPN": (
        ("db",),
        0.3,
        (
            (0.0, "vpn up", "everything"),
            (0.0, "plug", "twin"),
            (0.0, "connect", "db"),
            (0.0, "flapping", "cafe"),
            (0.0, "flicker", "address"),
            (20.0, "connect", "gate"),
        ),
    ),
    # The user's `ssh -O exit` met a reconnect. An earlier master drained with a session, and was killed, too.
    "an exit during a reconnect": (
        ("web1",),
        0.004,
        (
            (0.0, "session", "web1"),
            (0.0, "reconnect", "web1"),
            (20.0, "reconnect", "web1"),
            (0.02, "-O exit", "web1"),
        ),
    ),
    "an exit during a slow reconnect": (
        ("lab",),
        0.3,
        (
            (0.0, "session", "lab"),
            (0.0, "reconnect", "lab"),
            (700.0, "reconnect", "lab"),
            (0.3, "-O exit", "lab"),
        ),
    ),
    # Nobody could log in for a while, and then the user connected. The host was taken for one with a password.
    "connected by hand after a nologin": (
        ("bastion", "inner"),
        0.004,
        (
            (0.0, "flapping", "twin"),
            (20.0, "keys changed", ""),
            (0.0, "nologin", "outer"),
            (700.0, "swallowed", "0.3"),
            (0.0, "connect", "bastion"),
            (0.0, "flapping", "twin"),
        ),
    ),
    # Another machine at the address refused the login.
    "connected by hand after another machine": (
        ("nas",),
        0.04,
        (
            (0.0, "reconnect", "nas"),
            (0.0, "plug", "twin_nat"),
            (1.5, "session", "adhoc"),
            (0.0, "plug", "cable"),
            (0.0, "connect", "nas"),
            (0.1, "reboot", "deep"),
            (0.3, "upload", "adhoc"),
        ),
    ),
    # An unnamed master that had gone was counted under its server's address, and its login not under the name.
    "flaps after an unnamed master": (
        ("git", "stranger"),
        0.3,
        ((0.0, "reboot", "web"), (90.0, "reconnect", "annex"), (0.0, "flapping", "cafe")),
    ),
}
