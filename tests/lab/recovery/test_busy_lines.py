"""Slow lines that the user's own traffic fills: a probe waits behind this traffic, so silence proves nothing."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping

import pytest

from tests.lab.matrix import HOST, OPTIONS, Up, bring_up, need, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import INTERNAL, SERVER
from trayagent.sandbox.traffic import Direction

SIZE = 6_000_000
QUEUE = 32_000
JUMPED = {"HostName": INTERNAL, "ControlPath": "~/.ssh/cm-%C"}
# Transports that reach the server without a master of their own.
WAYS: Mapping[str, Mapping[str, str]] = {
    "ProxyJump": {"ProxyJump": "srv"},
    "ncat": {"ProxyCommand": "ncat %h %p"},
    "socat": {"ProxyCommand": "socat - TCP:%h:%p"},
}


def bring_up_inner(lab: Lab, agent: Agent, way: str) -> Up:
    """Connect `int` through a transport, because only `srv` is reachable from outside."""
    lab.join("home")
    lab.sshd()
    inner = JUMPED if way == "ProxyJump" else OPTIONS
    if way == "ProxyJump":
        lab.sshd(INTERNAL)
    lab.ssh_config({"srv": {"HostName": SERVER}, "int": {**inner, **WAYS[way]}})
    return bring_up(lab, agent, "[hosts.int]\n", "int")


def until_full(lab: Lab, direction: Direction) -> None:
    """Wait until traffic has filled the queue in front of the line, and more data is queued in the sender."""
    until("queue full", lambda: lab.carried()["home"][f"queued_{direction}"] > 0.5 * QUEUE, 40)
    time.sleep(2)  # wait until TCP has sent as much as it can


def away(lab: Lab, seconds: float = 1.5) -> None:
    """Lose the carrier for `seconds`. The address stays."""
    lab.link_down()
    time.sleep(seconds)
    lab.link_up()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_an_upload_through_a_transport_survives(lab: Lab, agent: Agent, way: str) -> None:
    """At 1 Mbit/s with a full queue, an upload survives 1.5 s without a link.

    All bytes arrive, and ssh exits with 0.
    """
    need(shutil.which(WAYS[way].get("ProxyCommand", "ssh").split()[0]), f"the program of {way}")
    up = bring_up_inner(lab, agent, way)
    lab.set_bandwidth(1, queue_bytes=QUEUE)
    words = ["sh", "-c", f"head -c {SIZE} /dev/zero | ssh int 'wc -c'"]
    upload = lab.laptop.popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until_full(lab, "up")
    away(lab)
    up.assert_kept(proven=True, deadline_s=90, then=lambda: lab.set_bandwidth(None))
    out, err = upload.communicate(timeout=60)
    assert (upload.returncode, out.strip()) == (0, str(SIZE)), err


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["up", "down"])
def test_traffic_of_a_direct_session_survives(lab: Lab, agent: Agent, direction: Direction) -> None:
    """An upload and a download in a direct session survive 1.5 s without a link, too."""
    up = bring_up(lab, agent)
    with lab.traffic(direction, HOST) as traffic:
        traffic.wait(1)
        lab.set_bandwidth(1, queue_bytes=QUEUE)
        until_full(lab, direction)
        away(lab)
        up.assert_kept(proven=True, deadline_s=90, then=lambda: lab.set_bandwidth(None))
        traffic.wait(1_000_000)
