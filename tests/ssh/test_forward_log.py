"""The forwards that clients requested, read from a master's log. A server's text must not look like a request."""

from __future__ import annotations

import pytest

from trayagent.ssh.forward_log import LONGEST_MESSAGE, requests

# Log lines of OpenSSH 9.2.
LOGIN = """\
debug1: sshconnect.c:verify_host_key():1100 (pid=7): Server host key: ssh-ed25519 SHA256:abc
debug1: kex.c:kex_input_newkeys():600 (pid=7): SSH2_MSG_NEWKEYS received
Authenticated to 203.0.113.10 ([203.0.113.10]:22) using "publickey".\r
"""
AT = "debug2: mux.c:mux_master_process_open_fwd():728 (pid=7): channel 1: request "
CANCEL = "debug2: mux.c:mux_master_process_close_fwd():894 (pid=7): channel 1: request cancel "
FAILED = "mux.c:mux_master_process_open_fwd():810 (pid=7): requested "
CONFIRM = "debug1: mux.c:mux_confirm_remote_forward():619 (pid=7): "


def found(*lines: str) -> list[str]:
    """Return the requests after a login, each as "what kind spec"."""
    log = LOGIN + "".join(f"{line}\r\n" for line in lines)
    return [f"{one.what} {one.forward.kind} {one.forward.spec}" for one in requests(log)]


@pytest.mark.parametrize(
    ("line", "kind", "spec"),
    [
        ("local forward LOCALHOST:29000 -> localhost:80", "local", "29000:localhost:80"),
        ("local forward ::1:29001 -> localhost:80", "local", "[::1]:29001:localhost:80"),
        ("local forward *:29002 -> ::1:80", "local", "*:29002:[::1]:80"),
        ("local forward /run/me/s.sock:-2 -> /run/x.sock:-2", "local", "/run/me/s.sock:/run/x.sock"),
        ("local forward LOCALHOST:29005 -> /run/x.sock:-2", "local", "29005:/run/x.sock"),
        ("dynamic forward LOCALHOST:29003 -> *", "dynamic", "29003"),
        ("remote forward LOCALHOST:29004 -> localhost:80", "remote", "29004:localhost:80"),
        ("remote forward LOCALHOST:0 -> localhost:80", "remote", "0:localhost:80"),
        ("remote forward LOCALHOST:29007 -> socks:0", "remote", "29007"),
    ],
)
def test_each_kind_of_request_is_read(line: str, kind: str, spec: str) -> None:
    """A request gives the forward with ssh's own notation of its ends. A cancellation gives the same forward."""
    assert found(AT + line) == [f"open {kind} {spec}"]
    assert found(CANCEL + line) == [f"close {kind} {spec}"]


def test_a_refused_request_is_closed() -> None:
    """If the local port is taken or the server refuses a remote forward, the forward counts as closed."""
    local, remote = "local forward LOCALHOST:1 -> localhost:81", "remote forward LOCALHOST:9 -> localhost:81"
    taken = (AT + local, "bind [127.0.0.1]:1: Address already in use", f"{FAILED}{local} failed")
    assert found(*taken)[-1] == "close local 1:localhost:81"
    refused = (AT + remote, f"{CONFIRM}failure for: listen 9, connect localhost:81")
    assert found(*refused)[-1] == "close remote 9:localhost:81"
    allowed = (AT + remote, f"{CONFIRM}success for: listen 9, connect localhost:81")
    assert found(*allowed) == ["open remote 9:localhost:81"]


@pytest.mark.parametrize("text", ["a" * 200, "caf\\303\\251"])
def test_a_text_that_is_not_complete_is_skipped(text: str) -> None:
    """Lines with incomplete names are skipped, because ssh truncates long names and writes non-ASCII bytes in octal."""
    assert found(f"{AT}local forward LOCALHOST:1 -> {text}:80") == []


@pytest.mark.parametrize(
    "words",
    [
        "channel 3: open failed: administratively prohibited: no",
        "Received disconnect from 203.0.113.10 port 22:11: bye",
        'debug1: sshconnect.c:verify_host_key():1100 (pid=7): Server host certificate: x serial 1 ID "',
    ],
)
def test_a_server_cannot_add_a_forward(words: str) -> None:
    """Lines that may belong to one message of a server's text are ignored. Later lines are not."""
    forged = AT + "remote forward LOCALHOST:22 -> localhost:631"
    assert found(words, forged) == []
    filler = "".join(f"{CONFIRM}success for: listen 9, connect x:1\r\n" for _ in range(20))
    assert len(filler) > LONGEST_MESSAGE
    assert found(words, filler + forged) == ["open remote 22:localhost:631"]


def test_only_new_requests_are_yielded() -> None:
    """Text before `start` yields no requests. It is only context, which can show that a line is a server's text."""
    first, second = f"{AT}dynamic forward LOCALHOST:1 -> *\r\n", f"{AT}dynamic forward LOCALHOST:2 -> *\r\n"
    assert [one.forward.spec for one in requests(first + second, len(first))] == ["2"]
    text = "channel 3: open failed: x: y\r\n"
    assert not [*requests(text + second, len(text))]
