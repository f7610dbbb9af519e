from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trayagent.errors import TrayagentError
from trayagent.ipc import check_requests, messages
from trayagent.ipc.errors import AgentSilent, BadRequest, Refused


def asked(**message: Any) -> bytes:
    return json.dumps({"v": 1, "args": {}, "env": {}} | message).encode()


def test_a_request_arrives_as_it_was_sent() -> None:
    """Operation, arguments and passed variables arrive as they were sent."""
    data = messages.request("pause", {"hosts": ["wéb"], "for_s": 60}, {"SSH_AUTH_SOCK": "/a"})
    assert data.count(b"\n") == 1
    assert check_requests.parse(data) == check_requests.Request(
        "pause", {"hosts": ["wéb"], "for_s": 60}, {"SSH_AUTH_SOCK": "/a"}
    )


def test_arguments_that_may_be_left_out_have_their_defaults() -> None:
    """Without hosts a request applies to all hosts, and a pause without a time lasts until it is resumed."""
    assert check_requests.parse(asked(op="pause")).args == {"hosts": [], "for_s": None}


def test_other_variables_of_a_client_are_dropped() -> None:
    """The agent accepts only certain variables from a client's environment."""
    assert check_requests.parse(asked(op="stop", env={"LD_PRELOAD": "/x", "SSH_AUTH_SOCK": ""})).env == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (asked(v=2, op="stop"), "version 2"),
        (b'{"op":"stop"}', "version None"),
        (asked(op="sing"), "no operation 'sing'"),
        (asked(op=["stop"]), "no operation"),
        (asked(op="stop", args=[]), "not an object"),
        (asked(op="stop", args={"hosts": []}), 'takes no argument "hosts"'),
        (asked(op="status", args={"hosts": "web"}), "list of host names"),
        (asked(op="status", args={"hosts": [1]}), "list of host names"),
        (asked(op="disconnect"), "at least one"),
        (asked(op="disconnect", args={"hosts": []}), "at least one"),
        (asked(op="pause", args={"for_s": True}), "number of seconds"),
        (asked(op="pause", args={"for_s": -1}), "number of seconds"),
        (asked(op="pause", args={"for_s": float("nan")}), "number of seconds"),
        (asked(op="pause", args={"for_s": float("inf")}), "number of seconds"),
        (asked(op="why"), "a host name"),
        (asked(op="stop", env={"A": 1}), "object of strings"),
    ],
)
def test_a_wrong_request_is_refused_in_words(line: bytes, said: str) -> None:
    """Each kind of wrong request gets its own error text, and counts as wrong usage."""
    with pytest.raises(BadRequest, match=said) as caught:
        check_requests.parse(line)
    assert caught.value.exit_status == 2


def test_an_error_arrives_with_its_words_and_its_exit_status() -> None:
    """Code, title, hint and status of an error arrive as they were sent.

    An error that is not wrong usage is a failure.
    """
    with pytest.raises(Refused) as caught:
        messages.read_reply(messages.failure(BadRequest("No.", code="unknown-host", hint="Look.")), "result")
    error = caught.value
    assert (error.title, error.code, error.hint, error.exit_status) == ("No.", "unknown-host", "Look.", 2)
    with pytest.raises(Refused) as caught:
        messages.read_reply(messages.failure(TrayagentError("It failed.")), "item")
    assert caught.value.exit_status == 1


def test_what_json_does_not_know_is_sent_as_its_text() -> None:
    """A value that JSON does not support is sent as its text, and ends neither the stream nor the agent."""
    sent = messages.item({"path": Path("/a"), "bad": "\udc80"})
    assert messages.read_reply(sent, "item") == {"path": "/a", "bad": "?"}


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{}", b'{"result":1}', b'{"ok":false}', b'{"item":{}}', b"\xff"]
)
def test_a_reply_that_makes_no_sense_is_an_error_of_the_agent(line: bytes) -> None:
    """An invalid reply raises AgentSilent, never a KeyError."""
    with pytest.raises(AgentSilent, match="is invalid"):
        messages.read_reply(line, "result")
