from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from trayagent.errors import TrayagentError
from trayagent.sandbox import UNAVAILABLE, Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Build a laboratory with a round-trip time of 20 ms. If the machine cannot, skip, but not in CI."""
    try:
        made = Lab(rtt_ms=20)
    except TrayagentError as error:
        if error.code in UNAVAILABLE and not os.environ.get("CI"):
            pytest.skip(str(error))
        raise
    with made:
        yield made


@pytest.fixture
def possible(lab: Lab) -> None:
    """Skip if the machine cannot build a laboratory."""
    lab.close()


@pytest.fixture
def vpn_lab(lab: Lab) -> Lab:
    """Build a laboratory at home with a working VPN. Skip if /dev/net/tun is forbidden, but not for root."""
    lab.join("home")
    try:
        lab.vpn_up()
    except TrayagentError as error:
        if error.code == "tun-missing" and os.getuid() != 0:
            pytest.skip(str(error))
        raise
    lab.vpn_down()
    return lab
