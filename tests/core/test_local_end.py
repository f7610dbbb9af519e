"""What a program on this machine connects to in order to use a forward."""

from __future__ import annotations

import pytest

from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.forwards import ForwardKind
from trayagent.core.facts.local_end import local_address, local_url


@pytest.mark.parametrize(
    ("kind", "spec", "address", "url"),
    [
        ("local", "8080:h:80", "localhost:8080", "http://localhost:8080"),
        ("local", "8443:h:80", "localhost:8443", "https://localhost:8443"),
        ("local", "8080:h:443", "localhost:8080", "https://localhost:8080"),
        ("local", "192.0.2.1:8080:h:80", "192.0.2.1:8080", "http://192.0.2.1:8080"),
        ("local", "/l.sock:h:80", "/l.sock", None),
        ("local", "8080:/r.sock", "localhost:8080", None),
        ("dynamic", "1080", "socks5h://localhost:1080", None),
        ("remote", "8080:h:80", None, None),
    ],
)
def test_the_near_end_of_a_forward_is_an_address_and_perhaps_a_url(
    kind: ForwardKind, spec: str, address: str | None, url: str | None
) -> None:
    """A local forward has an address, also for a browser if it may lead to a web server. A remote one has none."""
    forward = parse(kind, spec)
    assert (local_address(forward), local_url(forward)) == (address, url)
