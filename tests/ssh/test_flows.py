"""The TCP connection that carries a master, for every kind of transport."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from tests.ssh.conftest import poll
from trayagent.agent.masters.ends_of_connection import with_ends
from trayagent.core.facts.masters import Master
from trayagent.ssh.os import macos_datagrams, name_servers
from trayagent.ssh.os.control_sockets import owner_of
from trayagent.ssh.os.datagrams import may_use_datagrams
from trayagent.ssh.os.linux_tcp_connection import closed_from_here, flow_of, tcp_facts
from trayagent.ssh.os.local_daemons import may_be_elsewhere, may_use_daemon
from trayagent.ssh.os.process import Process, kill_checked, read
from trayagent.ssh.os.tcp_connection import transport_of

if TYPE_CHECKING:
    from tests.ssh.conftest import SshConfig, Sshd, StartMaster

# A program that copies bytes between its standard streams and a TCP connection, as nc does.
WITH_API = """
import os, socket, subprocess, sys
api = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
os.set_inheritable(api.fileno(), True)
sys.exit(subprocess.call(sys.argv[2:], close_fds=False))
"""
WITH_UDP = """
import socket, subprocess, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect(("127.0.0.1", int(sys.argv[1])))
sys.exit(subprocess.call(sys.argv[2:]))
"""
NC = """
import socket, sys, threading, os
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def up():
    while data := os.read(0, 65536): s.sendall(data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(65536): os.write(1, data)
"""


@pytest.fixture
def jump(ssh_config: SshConfig) -> str:
    """Add the hosts `hop` (the sshd itself), `inner` behind it, and `twice` behind that."""
    port = next(line.split()[1] for line in ssh_config.path.read_text().splitlines() if " Port " in line)
    common = ssh_config.path.read_text().split("\n", 1)[1]
    ssh_config.add(
        f"Host hop\n ControlPath none\nHost hop2\n ControlPath none\n ProxyJump hop\n"
        f"Host inner\n ProxyJump hop\nHost twice\n ProxyJump hop2\nHost hop hop2 inner twice\n{common}"
    )
    return port


def test_a_plain_master_holds_its_connection(sshd: Sshd, start_master: StartMaster) -> None:
    """The flow of a plain master has both ends, the socket, and the master as the holder."""
    master = start_master()
    flow = flow_of(master.process.pid)
    assert flow is not None
    assert (flow.local_ip, flow.peer_ip, flow.peer_port) == ("127.0.0.1", "127.0.0.1", sshd.port)
    assert (flow.via, flow.pid_of_holder, flow.carrier_pid) == ("direct", master.process.pid, None)
    assert transport_of(master.process.pid) == []


def test_a_forwarded_connection_is_not_the_masters_own(
    ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """The flow of a master is its own connection, even if it also has forwarded TCP connections."""
    master = start_master()
    before = flow_of(master.process.pid)
    with socket.create_server(("127.0.0.1", 0)) as target:
        listen = ssh_config.folder / "fwd"
        ssh_config.run("-O", "forward", "-L", f"{listen}:127.0.0.1:{target.getsockname()[1]}", "box")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(listen))
            target.accept()[0].close()
            assert flow_of(master.process.pid) == before


# A program that connects to a port, as ssh does with a passed descriptor, and then accepts a connection whose
# descriptor is lower.
ACCEPTS_LOWER = """
import os, socket, sys
low = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
out = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
for fd in low: os.close(fd)
accepted, _ = listener.accept()
assert accepted.fileno() < out.fileno()
print("accepted", flush=True)
sys.stdin.read()
"""


def test_a_forwarded_connection_on_a_lower_descriptor_is_not_the_own_one() -> None:
    """A pre-connected socket has a higher descriptor than a connection that ssh accepts for a forward later."""
    pipe = subprocess.PIPE
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        words = [sys.executable, "-c", ACCEPTS_LOWER, str(port)]
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as child:
            assert child.stdout
            with socket.create_connection(("127.0.0.1", int(child.stdout.readline()))):
                assert child.stdout.readline() == "accepted\n"
                flow = flow_of(child.pid)
            child.communicate()
    assert flow is not None
    assert flow.peer_port == port


# A program with a connection for another purpose before and after the one that carries it, as ssh with a name service.
SEVERAL = """
import socket, sys
held = []
for port in sys.argv[1:]:
    held.append(socket.create_connection(("127.0.0.1", int(port))))
    print("connected", flush=True)
    sys.stdin.readline()
held.pop(0).close()
print("closed", flush=True)
sys.stdin.read()
"""


def test_the_lowest_of_several_connections_may_be_that_of_a_name_service() -> None:
    """Neither the first connection nor the lower one counts as ssh's, as long as there may be another."""
    pipe = subprocess.PIPE
    with socket.create_server(("127.0.0.1", 0)) as names, socket.create_server(("127.0.0.1", 0)) as server:
        ports = [one.getsockname()[1] for one in (names, server)]
        words = [sys.executable, "-c", SEVERAL, *map(str, ports)]
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, bufsize=1) as child:
            assert child.stdin
            assert child.stdout
            found = []
            for line in ("connected", "connected", "closed"):
                assert child.stdout.readline() == line + "\n"
                flow = flow_of(child.pid)
                assert flow is not None
                found.append([one.peer_port for one in (flow, *flow.others)])
                if flow.others:
                    master = with_ends(Master(child.pid, 0, ""), flow)
                    assert (master.local, master.peer, master.datagrams) == (None, None, True)
                child.stdin.write("\n")
            child.communicate()
        assert found == [ports[:1], ports, ports[1:]]


# A program that passes a Unix socket to ssh (ProxyUseFdpass), which another process connects to the server.
PASSES = """
import os, socket, sys
near, far = socket.socketpair()
if os.fork():
    far.close()
    socket.send_fds(socket.socket(fileno=1), [b"0"], [near.fileno()])
else:
    near.close()
    os.dup2(far.fileno(), 0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.execvp("socat", ["socat", "FD:0", "TCP:" + sys.argv[1] + ":" + sys.argv[2]])
"""


def test_a_passed_unix_socket_carries_ssh_and_not_a_forwarded_connection(
    ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """systemd-ssh-proxy passes such a socket to ssh. No TCP connection of that ssh is its own."""
    program = ssh_config.folder / "passes.py"
    program.write_text(PASSES)
    command = f"ProxyCommand={sys.executable} {program} 127.0.0.1 %p"
    pid = start_master("-o", command, "-o", "ProxyUseFdpass=yes").process.pid
    with socket.create_server(("127.0.0.1", 0)) as target:
        listen = ssh_config.folder / "rfwd"
        ssh_config.run("-O", "forward", "-R", f"{listen}:127.0.0.1:{target.getsockname()[1]}", "box")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(listen))
            with target.accept()[0]:
                assert flow_of(pid) is None


def test_the_sessions_of_a_master_are_no_transport(ssh_config: SshConfig, start_master: StartMaster) -> None:
    """Programs with pipes to sessions of the master are not reported as its transport."""
    master = start_master()
    words = ssh_config.words("-o", "ControlMaster=no", "box", "cat")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ssh_config.env) as client:
        assert client.stdin
        assert client.stdout
        client.stdin.write(b"here\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"here\n"
        assert transport_of(master.process.pid) == []
        flow = flow_of(master.process.pid)
        assert flow is not None
        assert flow.via == "direct"
        client.stdin.close()


@pytest.mark.parametrize("host", ["inner", "twice"])
def test_behind_a_jump_host_the_child_holds_the_connection(
    sshd: Sshd, start_master: StartMaster, jump: str, host: str
) -> None:
    """Behind any number of jump hosts, the `ssh -W` holds the TCP connection and is the transport."""
    assert jump == str(sshd.port)
    master = start_master(host=host)
    flow = flow_of(master.process.pid)
    assert flow is not None
    assert (flow.via, flow.peer_port, flow.carrier_pid) == ("child", sshd.port, None)
    children = transport_of(master.process.pid)
    assert [c.comm for c in children] == ["ssh"] * (1 if host == "inner" else 2)
    assert flow.pid_of_holder == children[-1].pid
    assert tcp_facts(flow) is not None


def test_all_connections_of_a_proxy_command_are_known(
    sshd: Sshd, ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """If a ProxyCommand has a connection and its child has another, both are returned, each once."""
    child = ssh_config.folder / "nc.py"
    child.write_text(NC)
    program = ssh_config.folder / "with_api.py"
    program.write_text(WITH_API)
    with socket.create_server(("127.0.0.1", 0)) as api:
        port = api.getsockname()[1]
        command = f"{sys.executable} {program} {port} {sys.executable} {child} %h %p"
        flow = flow_of(start_master("-o", f"ProxyCommand={command}").process.pid)
        assert flow is not None
        assert [(one.peer_port, one.via) for one in (flow, *flow.others)] == [
            (port, "child"),
            (sshd.port, "child"),
        ]
        assert all(tcp_facts(one) is not None for one in flow.others)


# A proxy whose processes each have only one of the pipes to ssh, so that nothing shows it.
HALVES = """
import os, socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
null = os.open(os.devnull, os.O_RDWR)
if os.fork():
    os.dup2(null, 1)
    while data := os.read(0, 65536): s.sendall(data)
else:
    os.dup2(null, 0)
    while data := s.recv(65536): os.write(1, data)
"""


def test_behind_a_hidden_proxy_a_forwarded_connection_does_not_count(
    ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """The connection that ssh makes for a remote forward is never taken for the one that carries it."""
    program = ssh_config.folder / "halves.py"
    program.write_text(HALVES)
    master = start_master("-o", f"ProxyCommand={sys.executable} {program} %h %p")
    with socket.create_server(("127.0.0.1", 0)) as target:
        listen = ssh_config.folder / "rfwd"
        ssh_config.run("-O", "forward", "-R", f"{listen}:127.0.0.1:{target.getsockname()[1]}", "box")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(listen))
            with target.accept()[0]:
                assert flow_of(master.process.pid) is None
                assert may_be_elsewhere(master.process.pid)


@pytest.mark.parametrize(
    ("port", "name_server", "counts"),
    [(53, "127.0.0.1", False), (53, "::1", True), (53, "127.0.0.2", True), (443, "127.0.0.1", True)],
)
def test_a_transport_with_datagrams_is_known(
    ssh_config: SshConfig,
    start_master: StartMaster,
    monkeypatch: pytest.MonkeyPatch,
    port: int,
    name_server: str,
    counts: bool,
) -> None:
    """A UDP socket of a ProxyCommand counts, unless it is connected to a name server of this machine."""
    servers = ssh_config.folder / "resolv.conf"
    servers.write_text(f"search example\nnameserver {name_server}\n")
    monkeypatch.setattr(name_servers, "RESOLV_CONF", servers)
    program = ssh_config.folder / "udp.py"
    program.write_text(WITH_UDP)
    command = f"{sys.executable} {program} {port} nc %h %p"
    pid = start_master("-o", f"ProxyCommand={command}").process.pid
    assert may_use_datagrams(pid) == counts
    if shutil.which("lsof") is not None:
        assert macos_datagrams.holds_datagrams(one.pid for one in transport_of(pid)) == counts


# A ProxyCommand with the name of ssh that leaves the work to a daemon, and has a TCP connection for another purpose.
NAMED_SSH = """
import os, socket, sys, threading
api = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[2])
def up():
    while data := os.read(0, 65536): s.sendall(data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(65536): os.write(1, data)
"""


def test_a_program_with_the_name_of_ssh_may_use_a_daemon(
    sshd: Sshd, ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """A script with the name ssh is judged like any other program, also by its connections."""
    folder = ssh_config.folder
    program = folder / "ssh"
    program.write_text(f"#!{sys.executable}\n{NAMED_SSH}")
    program.chmod(0o755)
    words = ["socat", f"UNIX-LISTEN:{folder}/daemon", f"TCP:127.0.0.1:{sshd.port}"]
    with socket.create_server(("127.0.0.1", 0)) as api, subprocess.Popen(words) as daemon:
        try:
            poll((folder / "daemon").exists, "the daemon listens")
            port = api.getsockname()[1]
            pid = start_master("-o", f"ProxyCommand={program} {port} {folder}/daemon").process.pid
            (one,) = transport_of(pid)
            assert one.comm == "ssh"
            assert may_be_elsewhere(pid)
            assert may_use_daemon(pid)
        finally:
            daemon.kill()


RECEIVES = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
connection, _ = listener.accept()
_, (reads, writes), _, _ = socket.recv_fds(connection, 1, 2)
connection.close()
for fd in (reads, writes): os.set_inheritable(fd, True)
os.execvp("socat", ["socat", f"FD:{reads}!!FD:{writes}", sys.argv[2]])
"""
PASSES_ON = """
import signal, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
socket.send_fds(connection, [b"0"], [0, 1])
connection.recv(1)
connection.close()
signal.pause()
"""


def test_a_pipe_that_was_passed_to_an_older_daemon_leads_to_it(
    sshd: Sshd, ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """A ProxyCommand may pass its pipes to a daemon, and keep no connection to it."""
    path, program = ssh_config.folder / "daemon", ssh_config.folder / "passes.py"
    program.write_text(PASSES_ON)
    with subprocess.Popen(
        [sys.executable, "-c", RECEIVES, str(path), f"TCP:127.0.0.1:{sshd.port}"]
    ) as daemon:
        try:
            poll(path.exists, "the daemon listens")
            pid = start_master("-o", f"ProxyCommand={sys.executable} {program} {path}").process.pid
            assert may_be_elsewhere(pid)
        finally:
            daemon.kill()


def test_behind_a_proxy_command_its_process_holds_the_connection(
    sshd: Sshd, ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """Behind a ProxyCommand its process holds the connection, even below a shell."""
    program = ssh_config.folder / "nc.py"
    program.write_text(NC)
    command = f"sh -c '{sys.executable} {program} %h %p; true'"
    master = start_master("-o", f"ProxyCommand={command}")
    flow = flow_of(master.process.pid)
    assert flow is not None
    assert (flow.via, flow.peer_port) == ("child", sshd.port)
    names = [c.comm for c in transport_of(master.process.pid)]
    assert len(names) == 2
    assert names[1].startswith("python")


Background = Callable[..., int]


@pytest.fixture
def background(ssh_config: SshConfig, jump: str) -> Iterator[Background]:
    """Yield a function that starts a master which moves itself to the background."""
    assert jump
    path = str(ssh_config.control_path)
    started: list[Process | None] = []

    def start(*words: str) -> int:
        done = ssh_config.run("-M", "-S", path, "-o", "ControlPersist=60", *words, "true")
        assert done.returncode == 0, done.stderr
        pid = owner_of(path)
        assert pid is not None
        started.extend([read(pid), *transport_of(pid)])
        return pid

    yield start
    for process in started:
        if process is not None:
            kill_checked(process.pid, process.start_ticks, {process.comm}, signal.SIGKILL)


def test_a_master_in_the_background_keeps_its_transport(sshd: Sshd, background: Background) -> None:
    """The transport of a master in the background is found by its pipes, although it is no longer a child."""
    pid = background("inner")
    (child,) = transport_of(pid)
    assert child.ppid != pid
    flow = flow_of(pid)
    assert flow is not None
    assert (flow.via, flow.pid_of_holder, flow.peer_port) == ("child", child.pid, sshd.port)


def test_the_client_that_left_a_master_in_the_background_carries_nothing(ssh_config: SshConfig) -> None:
    """It still holds the master's ends of both pipes, and it is older than the ProxyCommand."""
    path = str(ssh_config.control_path)
    options = ("-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", "ProxyCommand=socat - TCP:%h:%p")
    words = ssh_config.words(*options, "box", "echo there; exec cat")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ssh_config.env) as client:
        assert client.stdout
        assert client.stdout.readline() == b"there\n"
        pid = owner_of(path)
        assert pid not in {None, client.pid}
        try:
            # The list of all pipes, which is used for 0.2 s, may name a process that has ended since.
            poll(lambda: not may_be_elsewhere(pid or 0), "the client carries nothing")
        finally:
            client.kill()
            os.kill(pid or 0, signal.SIGTERM)


def test_the_carrier_of_a_master_in_the_background_is_no_transport(
    ssh_config: SshConfig, start_master: StartMaster, background: Background
) -> None:
    """A master that carries another one is not its transport, although it holds both ends of the pipes."""
    carrier = start_master(host="hop", path=ssh_config.folder / "c")
    command = f"ssh -F {ssh_config.path} -S {carrier.path} -W [%h]:%p hop"
    pid = background("-o", f"ProxyCommand={command}", "box")
    transport = [t.pid for t in transport_of(pid)]
    assert len(transport) == 1
    assert carrier.process.pid not in transport
    flow = flow_of(pid)
    assert flow is not None
    assert (flow.via, flow.carrier_pid) == ("carried", carrier.process.pid)


@pytest.mark.parametrize("how", ["command", "jump"])
def test_a_carried_master_names_its_carrier(
    sshd: Sshd, ssh_config: SshConfig, start_master: StartMaster, jump: str, how: str
) -> None:
    """The flow of a carried master names its carrier, which is not reported as a transport."""
    carrier_path = ssh_config.folder / "c"
    assert jump
    if how == "jump":
        ssh_config.add(f"Host hop\n ControlPath {carrier_path}")
    carrier = start_master(host="hop", path=carrier_path)
    command = f"ssh -F {ssh_config.path} -S {carrier_path} -W [%h]:%p hop"
    options = ("-o", f"ProxyCommand={command}") if how == "command" else ()
    master = start_master(*options, host="box" if how == "command" else "inner")
    flow, own = flow_of(master.process.pid), flow_of(carrier.process.pid)
    assert flow is not None
    assert own is not None
    assert (flow.via, flow.carrier_pid, flow.pid_of_holder) == (
        "carried",
        carrier.process.pid,
        carrier.process.pid,
    )
    assert flow.inode == own.inode
    assert (own.via, own.peer_port) == ("direct", sshd.port)
    transport = transport_of(master.process.pid)
    assert len(transport) == 1
    assert carrier.process.pid not in {t.pid for t in transport}


def test_a_local_forward_carries_the_master_that_goes_through_it(
    sshd: Sshd, ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """If a master connects through another master's local forward, its flow is the other master's connection."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    outer = start_master()
    done = ssh_config.run("-O", "forward", "-L", f"{port}:127.0.0.1:{sshd.port}", "box")
    assert done.returncode == 0, done.stderr
    alias = f"HostKeyAlias=[127.0.0.1]:{sshd.port}"
    inner = start_master("-p", str(port), "-o", alias, path=ssh_config.folder / "inner")
    outer_flow, flow = flow_of(outer.process.pid), flow_of(inner.process.pid)
    assert outer_flow is not None and flow is not None
    assert (flow.via, flow.carrier_pid) == ("carried", outer.process.pid)
    assert flow.inode == outer_flow.inode
    assert outer_flow.via == "direct"


def test_a_carrier_that_stopped_listening_still_carries(
    ssh_config: SshConfig, start_master: StartMaster, jump: str
) -> None:
    """A master that a ProxyJump left in the background carries its host, also after `ssh -O stop`."""
    assert jump
    path = ssh_config.folder / "c"
    ssh_config.add(f"Host hop\n ControlMaster auto\n ControlPath {path}\n ControlPersist 60")
    master = start_master(host="inner")
    before = flow_of(master.process.pid)
    assert before is not None
    assert before.via == "carried"
    assert ssh_config.run("-O", "stop", "hop").returncode == 0
    assert flow_of(master.process.pid) == before


def test_the_facts_of_a_connection_follow_its_traffic(
    ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """Acknowledged bytes are counted, and an idle connection has nothing in flight."""
    master = start_master()
    flow = flow_of(master.process.pid)
    assert flow is not None
    before = tcp_facts(flow)
    assert before is not None
    assert before.min_rtt_s is not None
    assert 0 < before.min_rtt_s < 5
    assert before.rto_s > 0.1
    assert ssh_config.run("box", "true").returncode == 0
    after = tcp_facts(flow)
    assert after is not None
    assert after.bytes_acked > before.bytes_acked
    assert after.bytes_received > before.bytes_received


def test_a_connection_that_ended_has_no_facts(start_master: StartMaster) -> None:
    """After the master ended, there is neither a flow nor facts."""
    master = start_master()
    flow = flow_of(master.process.pid)
    assert flow is not None
    os.kill(master.process.pid, signal.SIGKILL)
    master.process.wait(20)
    assert tcp_facts(flow) is None
    assert flow_of(master.process.pid) is None


def test_a_new_connection_with_the_same_ports_is_another_one(start_master: StartMaster) -> None:
    """A new connection with the same ports has another socket inode, so there are no facts for the old flow."""
    flow = flow_of(start_master().process.pid)
    assert flow is not None
    assert tcp_facts(replace(flow, inode=flow.inode + 1)) is None


@pytest.mark.parametrize(
    ("how", "first"), [("exit", True), ("server", False), ("reset", False)], ids=["exit", "server", "reset"]
)
def test_the_kernel_shows_who_closed_a_connection_first(how: str, first: bool) -> None:
    """Only a connection that this end closed first, while the other end had it, counts as closed from here."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as ours:
        ours.connect(server.getsockname())
        local, peer = ours.getsockname(), ours.getpeername()
        theirs, _ = server.accept()
        with theirs:
            assert not closed_from_here(local, peer)
            assert closed_from_here(local, peer, or_open=True)
            if how == "reset":
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if how != "exit":
                theirs.close()
            ours.close()
            assert closed_from_here(local, peer) is first
            theirs.close()
            assert closed_from_here(local, peer) is first


def test_a_process_without_a_connection_has_none() -> None:
    """A process without a connection and an unused pid have no flow."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        assert flow_of(process.pid) is None
        assert process.stdin is not None
        process.stdin.close()
    assert flow_of(2**22 + 1) is None
