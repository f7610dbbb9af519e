"""The grammar of ssh -L, -R and -D; tests/ssh/test_resolve.py compares it with the real ssh."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trayagent.core.facts.forward_spec import MAX_UNIX_PATH, parse, unparse
from trayagent.core.facts.forwards import End, Forward, ForwardKind

H80 = End("h", 80)
GOOD: list[tuple[ForwardKind, str, End, End | None]] = [
    ("local", "8080:h:80", End("", 8080), H80),
    ("local", ":8080:h:80", End("*", 8080), H80),
    ("local", "*:8080:h:80", End("*", 8080), H80),
    ("local", "[]:8080:h:80", End("*", 8080), H80),
    ("local", "localhost:8080:h:80", End("localhost", 8080), H80),
    ("local", "[::1]:8080:[2001:db8::1]:443", End("::1", 8080), End("2001:db8::1", 443)),
    ("local", r"a\:b:8080:h:80", End("a:b", 8080), H80),
    ("local", " 8080:h:80", End("", 8080), H80),
    ("local", "8080:h:80:", End("", 8080), H80),
    ("local", "8080:/run/r.sock", End("", 8080), End(path="/run/r.sock")),
    ("local", "h:8080:/run/r.sock", End("h", 8080), End(path="/run/r.sock")),
    ("local", "8080:[/a:b]", End("", 8080), End(path="/a:b")),
    ("local", "/l.sock:h:80", End(path="/l.sock"), H80),
    ("local", "/l.sock:/r.sock", End(path="/l.sock"), End(path="/r.sock")),
    ("local", "/with space:/r.sock", End(path="/with space"), End(path="/r.sock")),
    ("remote", "2222:localhost:22", End("", 2222), End("localhost", 22)),
    ("remote", "0:localhost:22", End("", 0), End("localhost", 22)),
    ("remote", "*:0:localhost:22", End("*", 0), End("localhost", 22)),
    ("remote", "/r.sock:h:80", End(path="/r.sock"), H80),
    ("remote", "/r.sock:/l.sock", End(path="/r.sock"), End(path="/l.sock")),
    ("remote", "1080", End("", 1080), None),
    ("remote", "0", End("", 0), None),
    ("remote", "[::1]:1080", End("::1", 1080), None),
    ("remote", ":1080", End("*", 1080), None),
    ("remote", "/r.sock", End(path="/r.sock"), None),
    ("dynamic", "1080", End("", 1080), None),
    ("dynamic", "*:1080", End("*", 1080), None),
    ("dynamic", "127.0.0.1:1080", End("127.0.0.1", 1080), None),
    ("dynamic", "/d.sock", End(path="/d.sock"), None),
]
BAD: list[tuple[ForwardKind, str, str]] = [
    ("local", "", "is empty"),
    ("local", "   ", "is empty"),
    ("local", "-oProxyCommand=x", "would be an option"),
    ("local", " -R:h:80", "would be an option"),
    ("local", "80:h:80\nX", "control characters"),
    ("local", "80:h:\x1b80", "control characters"),
    ("local", "80:h:80\x7f", "control characters"),
    ("local", "${PORT}:h:80", "write its value"),
    ("local", "8080", "has no target"),
    ("local", "h:8080", "has no target"),
    ("local", "/l.sock", "has no target"),
    ("local", "8080::80", "has no target host"),
    ("local", "0:h:80", "port 0; ports go from 1"),
    ("local", "8080:h:0", "port 0; ports go from 1"),
    ("local", "8080:h:65536", "port 65536"),
    ("local", "8080:h:" + "9" * 5000, "ports go from 1 to 65535"),
    ("local", "http:h:80", '"http" where a port number must be'),
    ("local", "8080:h:٣", "where a port number must be"),
    ("local", "+80:h:80", "where a port number must be"),
    ("local", "::1:80:h:80", "square brackets"),
    ("local", "[::1:80:h:80", "a [ without its ]"),
    ("local", "[::1]x:80:h:80", "between ] and the next colon"),
    ("local", "80:h:80\\", "backslash"),
    ("local", "h/x:80:h:80", "is not a forward"),
    ("local", "8080:/" + "x" * MAX_UNIX_PATH, "more than 107 bytes"),
    ("local", "8080:" + "h" * 1025 + ":80", "too long a host name"),
    ("remote", "h:/p", "where a port number must be"),
    ("remote", "8080:h:0", "port 0"),
    ("dynamic", "0", "port 0"),
    ("dynamic", "h:/p", "is not a forward"),
    ("dynamic", "1080:h:80", "too many fields"),
]
HOSTS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/-${"), min_size=1, max_size=9
)
PATHS = HOSTS.map(lambda text: f"/{text}")
PORTS = st.integers(1, 65535)
LISTENS = st.one_of(
    st.builds(End, st.one_of(st.just(""), HOSTS), PORTS), st.builds(lambda path: End(path=path), PATHS)
)
TARGETS = st.one_of(st.builds(End, HOSTS, PORTS), st.builds(lambda path: End(path=path), PATHS))


@pytest.mark.parametrize(("kind", "spec", "listen", "target"), GOOD)
def test_an_argument_of_ssh_is_parsed_into_its_ends(
    kind: ForwardKind, spec: str, listen: End, target: End | None
) -> None:
    """Each form of the manual is parsed into its two ends, and keeps the user's spelling."""
    forward = parse(kind, spec)
    assert forward == Forward(kind, listen, target, "")
    assert forward.spec == spec


@pytest.mark.parametrize(("kind", "spec", "why"), BAD)
def test_an_error_has_a_reason_and_an_example(kind: ForwardKind, spec: str, why: str) -> None:
    """The error is one printable line that says what is wrong and gives a correct example."""
    with pytest.raises(ValueError) as error:
        parse(kind, spec)
    text = str(error.value)
    assert why in text
    assert "for example" in text
    assert text.isprintable()


@given(st.sampled_from(["local", "remote"]), LISTENS, TARGETS)
def test_parse_reads_what_unparse_writes(kind: ForwardKind, listen: End, target: End) -> None:
    """Whatever the hosts and paths contain, the written argument is parsed as the same ends."""
    assert parse(kind, unparse(listen, target)) == Forward(kind, listen, target, "")


@given(st.sampled_from(["local", "remote", "dynamic"]), st.text(max_size=30))
def test_any_text_is_a_forward_or_a_value_error(kind: ForwardKind, text: str) -> None:
    """Any text is parsed or raises ValueError, and no other exception."""
    try:
        parse(kind, text)
    except ValueError:
        return
