"""The parsing of ps and lsof output from macOS.

The texts were not recorded on a Mac. They were written from ps(1) and lsof(8) of macOS and the sources of their
Darwin parts, with invented kernel addresses.
"""

from __future__ import annotations

from trayagent.ssh.os.macos_carried import counted
from trayagent.ssh.os.macos_lsof import parsed as files
from trayagent.ssh.os.macos_ps import below, parsed
from trayagent.ssh.os.macos_tcp_connection import ProcessSnapshot
from trayagent.ssh.os.types import Carried, Flow

PS = """\
    1     0     0 Ss   Wed Nov 18 07:02:11 2026     launchd          /sbin/launchd
  612     1   501 S    Thu Nov 19 08:00:00 2026     Google Chrome He /Applications/Google Chrome.app/Helper --type=gpu
 4242     1   501 Ss   Sat Nov 21 09:05:07 2026     ssh              ssh: /Users/me/.ssh/cm-ab [mux]
 4243     1   501 S    Sat Nov 21 09:05:06 2026     ssh              ssh -W [db]:22 -l me jump
 4300   700   501 S    Sat Nov  7 09:05:06 2026     ssh              ssh -M -N -- web01
 4301  4300   501 S    Sat Nov 21 09:06:00 2026     nc               /usr/bin/nc web01 22
 4302  4300   501 Z    Sat Nov 21 09:06:00 2026     (sh)             (sh)
 4399   700   501 S    Sat Nov 21 09:06:30 2026     ssh              ssh -M -N -- other
 4400   700   501 S    Sat Nov 21 09:07:00 2026     ssh              ssh -M -N -- inner
 4401  4400   501 S    Sat Nov 21 09:07:00 2026     ssh              ssh -S /Users/me/.ssh/cm-ab -W [inner]:22 db
 5000  rubbish
"""

# Three masters in the background: behind a jump host (4242, 4243), behind a ProxyCommand (4300, 4301), and carried
# by another master (4400, 4401). 4399 holds the ends of a proxy's pipes, but is not a proxy. 4242 also has a
# forwarded connection and a session.
LSOF = """\
p4242
f0
tCHR
d0x3000002
n/dev/null
f3
tPIPE
d0xaa01
n->0xaa02
f4
tPIPE
d0xbb01
n->0xbb02
f5
tunix
d0xcc01
n/Users/me/.ssh/cm-ab.Q4JtXcVbNm12aZkP
f7
tIPv4
d0xdd01
n127.0.0.1:8080->127.0.0.1:60000
TST=ESTABLISHED
TQR=0
f8
tunix
d0xcc02
n/Users/me/.ssh/cm-ab.Q4JtXcVbNm12aZkP
p4243
fcwd
tDIR
d1,13
n/
f0
tPIPE
d0xaa02
n->0xaa01
f1
tPIPE
d0xbb02
n->0xbb01
f3
tIPv6
d0xdd02
n[fe80:6::10]:53122->[fe80:6::1]:22
TST=ESTABLISHED
p4300
f3
tPIPE
d0xee01
n->0xee02
f4
tPIPE
d0xff01
n->0xff02
p4301
f0
tPIPE
d0xee02
n->0xee01
f1
tPIPE
d0xff02
n->0xff01
f3
tIPv4
d0xdd03
n192.168.10.2:53200->203.0.113.10:22
TST=ESTABLISHED
f5
tIPv4
d0xdd05
n10.8.0.6:53201->198.51.100.7:443
TST=ESTABLISHED
p4399
f0
tCHR
d0x3000002
n/dev/null
f5
tPIPE
d0xee02
n->0xee01
f6
tPIPE
d0xff02
n->0xff01
p4400
f3
tPIPE
d0x1101
n->0x1102
f4
tPIPE
d0x1201
n->0x1202
p4401
f0
tPIPE
d0x1102
n->0x1101
f3
tunix
d0x1301
n->0xcc02
f1
tPIPE
d0x1202
n->0x1201
p4500
f3
tIPv4
d0xdd09
n192.168.10.2:53999->203.0.113.10:22
TST=ESTABLISHED
f5
tPIPE
d0xaa03
n->0xaa09
f6
tPIPE
d0xaa04
n->0xaa08
p4501
f3
tIPv4
d0xdd0a
n192.168.10.2:54000->203.0.113.10:22
TST=SYN_SENT
f4
tIPv6
d0xdd0b
n*:8080
TST=LISTEN
f5
tIPv4
d0xdd0c
n127.0.0.1:8081
TST=LISTEN
"""


def seen() -> ProcessSnapshot:
    """Return the processes and descriptors of the texts."""
    return ProcessSnapshot({p.pid: p for p in parsed(PS)}, files(LSOF))


def test_ps_lines_are_read() -> None:
    """Program names are cut at the first space; zombies and unreadable lines are skipped."""
    found = {process.pid: process for process in parsed(PS)}
    assert sorted(found) == [1, 612, 4242, 4243, 4300, 4301, 4399, 4400, 4401]
    master = found[4242]
    assert (master.ppid, master.uid, master.comm) == (1, 501, "ssh")
    assert master.argv == ("ssh:", "/Users/me/.ssh/cm-ab", "[mux]")
    assert master.start_ticks == 1795251907  # 2026-11-21 09:05:07 UTC
    assert found[4300].start_ticks == 1794042306
    assert found[612].comm == "Google"
    assert [p.pid for p in below(4300, found.values())] == [4301]
    assert {p.pid for p in below(1, found.values())} >= {612, 4242, 4243}


def test_a_jump_is_found_by_its_pipes() -> None:
    """The `ssh -W` of a master in the background is found by its pipes; link-local scopes are removed."""
    expected = Flow("fe80::10", 53122, "fe80::1", 22, 0xDD02, 4243, "child")
    assert seen().flow(4242) == expected
    assert [p.pid for p in seen().transport(4242)] == [4243]
    assert seen().transport(4243) == []


def test_a_proxy_command_has_the_socket() -> None:
    """The first connection of a ProxyCommand is the master's flow, whatever program it is.

    The others are listed, too.
    """
    assert [p.pid for p in seen().transport(4300)] == [4301]
    other = Flow("10.8.0.6", 53201, "198.51.100.7", 443, 0xDD05, 4301, "child")
    first = Flow("192.168.10.2", 53200, "203.0.113.10", 22, 0xDD03, 4301, "child", others=(other,))
    assert seen().flow(4300) == first


def test_a_master_over_a_master_is_carried() -> None:
    """If a master's proxy has only a Unix socket to another master, that other master is the carrier."""
    flow = seen().flow(4400)
    assert flow is not None
    assert (flow.via, flow.carrier_pid, flow.pid_of_holder) == ("carried", 4242, 4243)


def test_pipes_of_sessions_are_no_proxy() -> None:
    """Pipes of sessions do not count as a proxy, because they come after the master's own socket."""
    flow = seen().flow(4500)
    assert flow is not None
    assert (flow.local_port, flow.via) == (53999, "direct")
    assert seen().transport(4500) == []


def test_only_an_established_connection_carries() -> None:
    """Only an established connection counts, not one in progress or a listener."""
    assert seen().flow(4501) is None
    assert seen().flow(1) is None
    assert [f.listens for f in files(LSOF) if f.listens] == [("::", 8080), ("127.0.0.1", 8081)]


CARRYING = """\
p4242
f3
tIPv4
d0xdd01
n10.0.0.2:50000->203.0.113.10:22
TST=ESTABLISHED
f5
tunix
d0xcc01
n/Users/me/.ssh/cm-ab.Q4JtXcVbNm12aZkP
f6
tunix
d0xcc02
n/Users/me/.ssh/cm-ab.Q4JtXcVbNm12aZkP
f7
tIPv4
d0xdd02
n127.0.0.1:9000->127.0.0.1:50001
TST=CLOSE_WAIT
f8
tIPv4
d0xdd03
n127.0.0.1:9000
TST=LISTEN
f9
tunix
d0xcc03
n->0xee01
f10
tunix
d0xcc04
n->0xee02
p4250
f0
tunix
d0xee01
n->0xcc03
p4260
f4
tunix
d0xee02
n/private/tmp/agent
p99
f7
tunix
d0xee03
n->0xcc02
"""


def test_what_a_master_carries() -> None:
    """A session, a half-closed connection and one to the ssh-agent count.

    A session's input and our own client do not.
    """
    assert counted(4242, files(CARRYING), 99, 0xDD01) == Carried(sessions=1, connections=2)
