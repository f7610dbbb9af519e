"""Which names could have made a master, when several have its control path."""

from __future__ import annotations

import pytest

from trayagent.core.facts.master_origin import MasterOrigin
from trayagent.core.facts.masters import Master
from trayagent.core.facts.resolved import Resolved
from trayagent.core.policy.shared_control_path import fits

DIRECT = Resolved("corpdb", "10.0.0.1")
JUMPING = Resolved("app01", "10.0.0.1", proxy_jump="me@first:2222,ssh://bastion")
PIPED = Resolved("piped", "10.0.0.1", proxy_command="nc %h %p")
PASSED = Resolved("passed", "10.0.0.1", proxy_command="nc -F %h %p", proxy_use_fdpass=True)


@pytest.mark.parametrize(
    ("origin", "names"),
    [
        (MasterOrigin(route="direct"), "corpdb passed"),
        (MasterOrigin(route="proxy", jump="bastion"), "app01 piped passed"),
        (MasterOrigin(route="proxy", jump="other"), "piped passed"),
        (MasterOrigin(route="proxy"), "app01 piped passed"),
        (MasterOrigin(), "corpdb app01 piped passed"),
    ],
    ids=["direct", "through the jump host", "through another jump host", "through a command", "unknown"],
)
def test_a_master_fits_the_names_that_lead_as_it_connects(origin: MasterOrigin, names: str) -> None:
    """A name fits a master if its jump host or ProxyCommand does. Nothing known about the route excludes no name."""
    master = Master(1, 1, "/run/cm", peer="10.0.0.1", peer_port=22, direct=origin.route == "direct")
    fitting = [r.host for r in (DIRECT, JUMPING, PIPED, PASSED) if fits(r, master, origin)]
    assert fitting == names.split()
