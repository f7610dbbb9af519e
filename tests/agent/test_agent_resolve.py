from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from trayagent.agent.state.resolve_when_needed import Resolver
from trayagent.core.facts.hosts import Hop
from trayagent.errors import TrayagentError


def ask(tmp_path: Path, config: str, name: str) -> Hop | None:
    """Return the first TCP hop of a host, according to the real `ssh -G`."""
    path = tmp_path / "config"
    path.write_text(config)
    return asyncio.run(Resolver("ssh", path, (path,)).resolve(name)).hop


@pytest.mark.parametrize(
    ("jump", "hop"),
    [
        ("gate", Hop("192.0.2.1", 2222)),
        ("me@gate", Hop("192.0.2.1", 2222)),
        ("gate:99", Hop("192.0.2.1", 99)),
        ("outer,gate", Hop("192.0.2.9", 22)),
        ("[2001:db8::1]:99", Hop("2001:db8::1", 99)),
        ("ssh://me@gate:99", Hop("192.0.2.1", 99)),
        ("inner:99", Hop("192.0.2.1", 2222)),
    ],
)
def test_the_first_hop_is_followed_through_jump_hosts(tmp_path: Path, jump: str, hop: Hop) -> None:
    """The first hop is the first jump host of the list, at the given port or the jump host's own one."""
    config = (
        f"Host target\n HostName 10.0.0.1\n ProxyJump {jump}\n"
        "Host gate\n HostName 192.0.2.1\n Port 2222\nHost inner\n ProxyJump gate\nHost outer\n HostName 192.0.2.9\n"
    )
    found = ask(tmp_path, config, "target")
    assert found is not None
    assert (found.hostname, found.port) == (hop.hostname, hop.port)


def test_who_logs_in_at_the_first_hop_is_known(tmp_path: Path) -> None:
    """The user and keys at the first hop are known, so that a refusal there applies to every host behind it."""
    config = (
        "Host target\n HostName 10.0.0.1\n ProxyJump gate\nHost other\n HostName 10.0.0.2\n ProxyJump you@gate\n"
        "Host gate\n HostName 192.0.2.1\n User me\n IdentityFile ~/.ssh/gate\n"
    )
    found, other, admission = (ask(tmp_path, config, name) for name in ("target", "other", "gate"))
    assert found == admission
    assert found is not None
    assert found.user == "me"
    assert "~/.ssh/gate" in found.keys
    assert other == replace(found, user="you")


@pytest.mark.parametrize(
    ("jump", "first", "later"),
    [
        ("gate", "gate.example", []),
        ("gate,you@inner", "gate.example", ["you@inner.example"]),
        ("last", "gate.example", ["me@inner.example", "me@last.example"]),
        ("cloud", None, ["me@cloud.example"]),
        ("cloud,inner", None, ["me@cloud.example", "me@inner.example"]),
    ],
)
def test_every_jump_host_that_ssh_passes_is_known(
    tmp_path: Path, jump: str, first: str | None, later: list[str]
) -> None:
    """Jump hosts are known even if only another jump host's ProxyJump or a ProxyCommand names them."""
    path = tmp_path / "config"
    path.write_text(
        f"Host target\n HostName 10.0.0.1\n ProxyJump {jump}\n"
        "Host last\n ProxyJump gate,inner\nHost cloud\n ProxyCommand nc %h %p\n"
        "Host gate inner last cloud\n HostName %h.example\n User me\n"
    )
    answer = asyncio.run(Resolver("ssh", path, (path,)).resolve("target"))
    assert (answer.hop.hostname if answer.hop is not None else None) == first
    assert [f"{hop.user}@{hop.hostname}" for hop in answer.later_hops] == later


def test_through_a_command_there_is_no_hop_to_name(tmp_path: Path) -> None:
    """A ProxyCommand has no known first hop."""
    assert ask(tmp_path, "Host target\n ProxyCommand nc %h %p\n", "target") is None


@pytest.mark.parametrize(
    ("config", "hops", "jump"),
    [
        ("", 0, None),
        ("ProxyCommand nc %h %p", 1, None),
        ("ProxyJump gate", 1, "192.0.2.1"),
        ("ProxyJump me@gate:99", 1, "192.0.2.1"),
        ("ProxyJump gate,outer", 2, None),
        ("ProxyJump inner", 2, None),
        ("ProxyJump cloud", 2, None),
        ("ProxyJump bound", 1, None),
    ],
)
def test_jump_hosts_are_counted_and_a_single_one_is_kept(
    tmp_path: Path, config: str, hops: int, jump: str | None
) -> None:
    """Jump hosts of jump hosts and commands are counted, too.

    A jump host that itself needs a hop is not kept as `jump`.
    """
    path = tmp_path / "config"
    path.write_text(
        f"Host target\n HostName 10.0.0.1\n {config}\nHost gate\n HostName 192.0.2.1\nHost outer\n"
        " HostName 192.0.2.9\nHost inner\n ProxyJump gate\nHost cloud\n ProxyCommand nc %h %p\n"
        "Host bound\n BindAddress 127.0.0.1\n"
    )
    resolved = asyncio.run(Resolver("ssh", path, (path,)).resolve("target")).resolved
    assert resolved.hops == hops
    assert (resolved.jump.hostname if resolved.jump is not None else None) == jump


def test_an_alias_is_found_by_its_control_path(tmp_path: Path) -> None:
    """The path of a master's socket identifies its alias. An unknown socket has no alias."""
    path = tmp_path / "config"
    path.write_text("Host a b c\n ControlPath /run/cm-%n\nHost c\n User me\n")
    resolver = Resolver("ssh", path, (path,))
    found = asyncio.run(resolver.alias_of("/run/cm-c"))
    assert found is not None
    assert found[0] == "c"
    assert asyncio.run(Resolver("ssh", path, (path,)).alias_of("/run/other")) is None


@pytest.mark.parametrize(("match", "plain"), [("host web*", True), ('exec "test -e /nowhere"', False)])
def test_where_answers_vary_between_networks_ssh_connects_itself(
    tmp_path: Path, match: str, plain: bool
) -> None:
    """If ssh may use a jump host only on some networks, ssh itself makes the connection."""
    path = tmp_path / "config"
    path.write_text(f"Match {match}\n User me\n")
    answer = asyncio.run(Resolver("ssh", path, (path,)).resolve("web01"))
    assert answer.resolved.plain_connect == plain


def test_an_alias_that_cannot_own_a_path_is_not_resolved(tmp_path: Path) -> None:
    """For an unnamed master's path, no Match exec runs for aliases that cannot have this ControlPath.

    Other aliases are resolved once.
    """
    path, runs = tmp_path / "config", tmp_path / "runs"
    path.write_text(
        f'Match exec "echo %n >> {runs}; false"\n User me\n'
        "Host a\n ControlPath /run/a-%C\nHost b\n ControlPath /run/b\nHost c\n User me\n"
    )
    resolver = Resolver("ssh", path, (path,))
    for _ in range(3):
        assert asyncio.run(resolver.alias_of("/run/ansible/0123456789")) is None
    assert not runs.exists()
    for _ in range(3):
        assert asyncio.run(resolver.alias_of(f"/run/a-{'0' * 40}")) is None
    assert runs.read_text() == "a\n"


def test_without_name_resolution_ssh_canonicalizes_nothing(tmp_path: Path) -> None:
    """Without name resolution the answer is marked as incomplete, unless ssh would canonicalize no name."""
    path = tmp_path / "config"
    path.write_text("CanonicalizeHostname yes\nCanonicalDomains invalid\nCanonicalizePermittedCNAMEs *:*\n")
    resolver = Resolver("ssh", path, (path,))
    answer = asyncio.run(resolver.resolve("web", lookups=False))
    assert (answer.lookups_allowed, answer.varies) == (False, True)
    assert answer.resolved.canonicalize_hostname == "no"
    assert asyncio.run(resolver.resolve("127.0.0.1")).lookups_allowed
    path.write_text("CanonicalizeHostname no\n")
    resolver.forget()
    answer = asyncio.run(resolver.resolve("web", lookups=False))
    assert (answer.lookups_allowed, answer.varies) == (True, False)


def test_the_first_answer_may_be_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow `Match exec` delays only a host's first answer. Later, the earlier answer is used.

    Each login may take as much longer.
    """
    monkeypatch.setattr("trayagent.agent.state.resolve_when_needed.LATER_WITHIN_S", 0.05)
    path = tmp_path / "config"
    path.write_text('Match host target exec "sleep 0.5"\n HostName 192.0.2.7\n')
    resolver = Resolver("ssh", path, (path,))

    async def run() -> None:
        first = await resolver.resolve("target")
        assert first.resolved.hostname == "192.0.2.7"
        assert 0.5 <= resolver.slow_s("target") < 10
        with pytest.raises(TrayagentError, match="took longer"):
            await resolver.resolve("target")
        assert resolver.slow_s("target") >= 0.5
        resolver.forget()  # the configuration changed, so the earlier answer is outdated
        await resolver.resolve("target")

    asyncio.run(run())
