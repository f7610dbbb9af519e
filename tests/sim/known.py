"""Histories that once broke an invariant, shortened as far as possible."""

from __future__ import annotations

from tests.sim.histories import History, Step

# The move to the cable and the sleep cut logins off. The server penalizes them 120 s later, when the hosts come
# home.
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
    # The Wi-Fi changed networks and kept its address, while packets left through the cable.
    "the radio behind the cable": (("stranger",), 0.3, ((0.0, "plug", "cable"), (0.0, "flapping", "twin"))),
    # A gateway at home forges a disconnect from the server. The old connection has lost only one probe.
    "a forged disconnect": (
        ("web",),
        0.04,
        ((0.0, "liar", "home denied"), (0.0, "swallowed", "3.2"), (20.0, "look", "")),
    ),
    # ssh does not check host keys, and the machine that answers accepts the login.
    "a trap without host key checking": (
        ("open",),
        0.04,
        ((0.0, "liar", "cafe key in"), (4.0, "plug", "cafe"), (20.0, "look", "")),
    ),
    # The kernel moved the connection to another address (MPTCP). The old address is gone.
    "a connection that follows": (("roams",), 0.04, ((4.0, "plug", "cafe"), (4.0, "look", ""))),
    # The probe waits behind the session's own data, and only the jump host acknowledges packets.
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
    # A banner does not prove that a silent connection is stale.
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
    # The host was `checking` for minutes, and `status` did not show what it waited for.
    "behind a jump host in a hole": (
        ("bastion", "inner"),
        0.04,
        ((0.0, "swallowed", "0.3"), (0.0, "hole", "home"), (90.0, "look", "")),
    ),
    "an unnamed master at the cafe": (("deploy",), 0.3, ((0.0, "blink", "cafe"), (700.0, "look", ""))),
    # A recorded name made an unnamed master a normal host, which then waited forever.
    "an unnamed master found again": (
        ("stranger",),
        0.3,
        ((0.0, "agent restarts", ""), (0.3, "plug", "twin_nat")),
    ),
    # The next agent found an old master of the user, and mistook it for a login with a password after the refusal.
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
    # A rounding error: one comparison found the time due, another one did not.
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
    # A banner check happened at the moment when another host's login was dropped.
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
    # Two hosts on one server, with a VPN for all traffic: the host behind a jump host was counted at another
    # network.
    "a jump host in a VPN": (
        ("ship", "bastion"),
        0.3,
        ((0.0, "vpn new address", "everything"), (20.0, "nologin", "deep"), (0.0, "flapping", "cafe")),
    ),
    # The agent counted three logins to one account on the Wi-Fi, but they went through a VPN for all traffic.
    "a VPN takes over the route to a bastion": (
        ("rack0", "rack1", "rack2"),
        0.004,
        (
            (0.0, "credentials expired", "outer"),
            (0.0, "vpn new address", "everything"),
            (1.5, "hole over", ""),
        ),
    ),
    # Because a retransmission came near, `status` did not show for minutes that the control waited for refused
    # logins.
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
    # TCP backed off on a network without a route. Back home, the next retransmission was due in 4 s.
    "away and back": (
        ("web",),
        0.04,
        ((0.0, "hole", "cafe"), (0.3, "and back", "cafe 8.0"), (90.0, "look", "")),
    ),
    # A gateway showed another host key before the host was ever reached. The host then stopped on all networks.
    "another key at the first network": (
        ("db",),
        0.3,
        ((0.0, "liar", "office key"), (0.0, "plug", "office"), (1.5, "docker", "")),
    ),
    # A login that began in the office moved to a network where five logins had just been cut off.
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
    # Logins that began at home moved to a network where six logins had failed within a minute.
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
    # The network was lost during a reconnect, and the agent probed the old master once more.
    "a carrier lost during a reconnect": (
        ("web",),
        0.3,
        ((0.0, "reconnect", "web"), (0.6, "liar", "home going down"), (0.0, "carrier lost", "wlan0")),
    ),
    # A refused reconnect still counted as the running control after the path had changed.
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
    # The agent began a banner check although five connections hung at the server. The next move cut it off.
    "banner checks while a network flaps": (
        ("bastion",),
        0.3,
        ((0.0, "hole", "home"), (700.0, "connect", "touch"), (0.0, "flapping", "cafe")),
    ),
    # The server saw one client address, but the agent counted its Wi-Fi and its cable separately.
    "cut logins on a Wi-Fi, then on a cable": (
        ("web", "web2"),
        0.04,
        ((0.0, "sleep", "cable"), (0.6, "unplug", "wlan0"), (0.1, "sleep", "")),
    ),
    # A refused login that began before the last suspicion is no control, but kept counting as one.
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
    # The user's own attempt was refused, which is a control. So a paused agent ended the old connection.
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
    # The cable stayed in its network. Only the Wi-Fi, through which the answers come, changed to another one.
    "a radio that returns behind the cable": (
        ("rack0", "rack1", "rack2"),
        0.04,
        ((0.0, "plug", "cable"), (0.3, "flapping", "twin"), (1.5, "docker", "")),
    ),
    # A login was redialled on another network and then cut off, but counted on the network where it began.
    "a redialled login while a network flaps": (
        ("roams",),
        0.04,
        ((0.0, "and back", "cafe 0.9"), (0.0, "flapping", "twin")),
    ),
    # The user's reconnect waited for two other logins to the account, but `status` showed the host as `checking`.
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
    # Only a jump host's TCP acknowledged. The jump host waits a minute for an answer, and the host behind it waits
    # as long.
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
    # The next agent did not know that a jump host had refused the logins, and tried a third login there.
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
    # The server penalized three cut logins until 49 s after the return. The agent's last banner check was 11 s
    # before that. It made no other check for 29 s, because the next login was due in 28 s.
    "home before the penalties are over": (("open", "adhoc", "git"), 0.3, _CUT_AND_PENALIZED),
    # The agent queried the kernel twice. The second report was older than the new probe, but was used for it.
    "two reports on one upload": (
        ("rack0", "rack1", "web"),
        0.04,
        ((0.0, "upload", "rack1"), (0.0, "blink", "home"), (4.0, "swallowed", "3.2")),
    ),
    # The server dropped the controls for a while. The agent did not check the banner, so the hosts waited the whole
    # pause.
    "controls that the server drops": (("adhoc", "git"), 0.3, _CUT_AND_PENALIZED),
    # A host without a host key check had logged in to a false server. The agent mistook the real server's refusal
    # for another machine's.
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
    # All hosts tried again at once and were dropped. So they used up the attempts that the server allows in a
    # minute.
    "three hosts that a server drops": (("roams", "adhoc", "git"), 0.3, _CUT_AND_PENALIZED),
    # A control was refused when it was no longer needed. Then the old connection died, and `status` showed no reason
    # for the missing login.
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
    # The next agent found the draining master first, and forgot that the user had paused this unlisted host.
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
    # The first logins to a name went through a VPN for all traffic, but were counted on the Wi-Fi. Six were cut off.
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
    # The user ran `ssh -O exit` during a reconnect. The agent also killed an earlier master that drained with a
    # session.
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
    # The server refused all logins for a while, and then the user connected. The agent mistook the host for one with
    # a password.
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
    # The agent counted an ended unnamed master under its server's address, but a login under the server's name.
    "flaps after an unnamed master": (
        ("git", "stranger"),
        0.3,
        ((0.0, "reboot", "web"), (90.0, "reconnect", "annex"), (0.0, "flapping", "cafe")),
    ),
    # The server was reached through a VPN, but the agent counted its drops there, and each next login on the Wi-Fi.
    "drops through a VPN before the first login": (
        ("db",),
        0.04,
        (
            (0.0, "dropping", "internal"),
            (0.0, "vpn new address", "split"),
            (0.0, "flapping", "twin"),
            (0.0, "flapping", "cafe"),
        ),
    ),
    # The gateway was not resolved on another LAN with the same addresses, so the agent took that LAN for home. Back
    # home, it did not wait for the retransmission of a probe that it had sent there, and killed a healthy master.
    "a probe on an unknown network": (
        ("web3",),
        0.3,
        (
            (0.0, "obstacle", "web3"),
            (0.0, "unresolved", "twin 5.0"),
            (20.0, "flicker", "route"),
            (5.5, "obstacles gone", ""),
        ),
    ),
    # An error in ssh_config took the place of the reason why the host had stopped. When the error was fixed, the host
    # neither connected nor showed why.
    "a stopped host and an error in ssh_config": (
        ("lab",),
        0.3,
        ((0.0, "plug", "twin_nat"), (700.0, "plug", "office"), (0.0, "config broken", "")),
    ),
    # The agent started while `ssh -G` failed, and adopted a master. When the master died, no `ssh -G` ran again.
    "an adopted master and an error in ssh_config": (
        ("roams",),
        0.3,
        (
            (0.0, "config broken", ""),
            (0.0, "unresolved", "office 5.0"),
            (0.0, "hole", "office"),
            (0.0, "agent restarts", ""),
            (700.0, "dropping over", ""),
        ),
    ),
    # A private address, and a host key that ssh does not check: the agent started while `ssh -G` failed.
    "an unresolved host on another network": (
        ("nas",),
        0.3,
        (
            (0.0, "unresolved", "twin_nat 5.0"),
            (0.0, "config broken", ""),
            (0.0, "stop masters", ""),
            (90.0, "upload", "bastion"),
        ),
    ),
    # During `stop --masters`, the agent began a login beside a master of the user.
    "a control while the agent stops": (
        ("adhoc",),
        0.04,
        ((0.0, "stop masters", ""), (0.0, "swallowed", "0.3")),
    ),
    # In a hole without an event, TCP waits ever longer. After the hole, a control succeeded before the session's next
    # retransmission, and the living master was killed.
    "a session in a hole": (
        ("web",),
        0.04,
        ((0.0, "session", "web"), (5.0, "hole", "home"), (0.3, "use", "web"), (26.0, "hole over", "")),
    ),
    # A new agent had no proof of life before the path changed. It took the silence for a hole, and waited for a far
    # retransmission.
    "a change of network before any proof of life": (
        ("old",),
        0.3,
        (
            (0.0, "unplug", "wlan0"),
            (0.0, "agent restarts", ""),
            (90.0, "look", ""),
            (0.0, "session", "old"),
            (0.0, "plug", "office"),
            (0.0, "plug", "home"),
            (90.0, "unplug", "wlan0"),
        ),
    ),
    # The sessions of an earlier inner master waited forever for an on-use host, which had been idle when their outer
    # master was lost.
    "sessions without a control path wait for an idle host": (
        ("use",),
        0.004,
        (
            (0.0, "roam", ""),
            (0.0, "reconnect", "use"),
            (3.0, "session", "use"),
            (0.0, "take path", "use"),
            (700.0, "session", "use"),
            (0.0, "unplug", "wlan0"),
            (20.0, "connect", "use"),
            (90.0, "stall", "use"),
            (20.0, "blink", "home"),
            (20.0, "exit", "use"),
        ),
    ),
    # An earlier inner master was about to attach to the outer master of another one, which then ended. Its own outer
    # master was forgotten, and stayed.
    "an earlier inner master keeps its own outer master": (
        ("use",),
        0.04,
        (
            (0.0, "roam", ""),
            (0.0, "reconnect", "use"),
            (3.0, "session", "use"),
            (0.0, "take path", "use"),
            (2.0, "exit", "use"),
            (0.0, "reconnect", "use"),
            (0.6, "pause", "use"),
            (0.1, "reconnect", "use"),
            (0.1, "plug", "office"),
            (0.0, "take path", "use"),
            (20.0, "swallowed", "0.3"),
        ),
    ),
    # The agent took the address of an outer master on another machine for that of the far relay.
    "a new outer master on another machine than the port": (
        ("login",),
        0.3,
        (
            (0.0, "roam", ""),
            (0.0, "other node", ""),
            (0.0, "upload", "login"),
            (0.0, "reconnect", "login"),
            (4.0, "flapping", "twin"),
        ),
    ),
    # The user's login at a terminal showed the key of a server whose key ssh does not check.
    "a control after a login at a terminal": (
        ("nas",),
        0.004,
        ((0.0, "login", "nas"), (20.0, "plug", "cafe"), (94.0, "look", "")),
    ),
    # A master had a route on a network that forbade new logins. As soon as it lost the route, its time was over.
    "offline only since the route is gone": (
        ("nas",),
        0.3,
        ((0.0, "sleep", "twin_nat"), (700.0, "sleep", "cafe")),
    ),
    # The first login was on a network that was never identified, so the host counted as one that was never reached.
    "a key that ssh stored on an unidentified network": (
        ("fresh",),
        0.004,
        ((0.0, "unresolved", "cable 100.0"), (0.0, "login given up", "fresh"), (0.6, "other node", "")),
    ),
    # The server hangs while a remote forward is requested again, which the master confirms at once.
    "forwards of a master whose server hangs": (
        ("web",),
        0.3,
        ((0.0, "roam", ""), (90.0, "take path", "web"), (700.0, "agent restarts", ""), (0.3, "stuck", "web")),
    ),
    # The spare master answered on its own line, and a short hole on the other line swallowed one retransmission.
    "a hole beside a standby": (
        ("web1",),
        0.3,
        (
            (0.0, "standby", ""),
            (0.0, "plug", "office"),
            (16.0, "swallowed", "1.1"),
            (0.6, "hole", "office"),
            (0.1, "hole over", ""),
            (8.0, "unplug", "wlan0"),
        ),
    ),
    # Only silence caused the doubt until the laptop left home, so the agent did not know the path that it left.
    "a return to the path of a silent master": (
        ("annex", "well"),
        0.004,
        (
            (20.0, "flicker", "route"),
            (20.0, "busy", "web 0.3"),
            (20.0, "docker", ""),
            (0.6, "connect", "annex"),
            (0.3, "busy", "web 0.3"),
            (0.0, "hole", "home"),
            (0.6, "docker", ""),
            (0.3, "dropping over", ""),
            (0.0, "hole", "cafe"),
            (20.0, "connect", "well"),
            (700.0, "dropping over", ""),
            (0.3, "busy", "node1 0.3"),
            (0.3, "flicker", "lost"),
            (0.17, "connect", "well"),
            (0.02, "blink", "cafe"),
            (1.5, "vpn new address", "split"),
        ),
    ),
    # The control came first and was ready, so nothing waited for the answer to the second probe.
    "a second probe after the control": (
        ("rsa",),
        0.004,
        ((0.0, "deaf", "rsa"), (0.0, "use", "rsa"), (0.0, "sleep", "")),
    ),
}
