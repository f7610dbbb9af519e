"""`ssh -G` for many names at a time: the same answers and errors as for each name alone, with few processes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from trayagent.core.facts.resolved import Resolved
from trayagent.errors import TrayagentError
from trayagent.ssh.resolve import NO_LOOKUPS, resolve
from trayagent.ssh.resolve_many import SshResolver

NAMES = [f"web{number}" for number in range(40)]


def write(tmp_path: Path, text: str) -> str:
    """Write an ssh_config and return its path."""
    path = tmp_path / "config"
    path.write_text(text)
    return str(path)


async def all_of(
    resolver: SshResolver, names: list[str], options: tuple[str, ...] = ()
) -> list[Resolved | BaseException]:
    """Resolve all names at the same time."""
    return await asyncio.gather(*(resolver.resolve(n, options) for n in names), return_exceptions=True)


def test_many_answers_are_those_of_each_name(tmp_path: Path) -> None:
    """Each name gets its own answer, whatever other names are resolved at the same time."""
    config = write(tmp_path, "Host web*\n HostName %h.example\n User me\nHost other\n Port 99\n")

    async def body() -> None:
        resolver = SshResolver("ssh", config)
        names = [*NAMES, "other", "you@web1", "a b"]
        found = await all_of(resolver, names)
        alone = [await resolve(n, config=config) for n in ("web7", "other", "you@web1")]
        assert [found[names.index(n)] for n in ("web7", "other", "you@web1")] == alone

    asyncio.run(body())


def test_many_names_take_few_processes_of_ours(tmp_path: Path) -> None:
    """Forty names that wait together take fewer than 20 processes of the agent."""
    config = write(tmp_path, "Host *\n User me\n")
    started: list[object] = []

    async def body() -> None:
        real = asyncio.create_subprocess_exec

        async def counted(*words: str, **options: object) -> asyncio.subprocess.Process:
            started.append(words)
            return await real(*words, **options)  # type: ignore[arg-type]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "create_subprocess_exec", counted)
            found = await all_of(SshResolver("ssh", config), NAMES)
        assert all(isinstance(one, Resolved) for one in found)

    asyncio.run(body())
    assert len(started) < 20


def test_an_error_among_many_is_that_names_own(tmp_path: Path) -> None:
    """A name that ssh rejects and a name that would be an option get their own errors. The others get their answers."""
    config = write(tmp_path, "Host *\n User me\n")
    names = [*NAMES[:3], "@web", *NAMES[3:], "-v", ""]

    async def body() -> None:
        found = await all_of(SshResolver("ssh", config), names)
        failed = [n for n, one in zip(names, found, strict=True) if isinstance(one, BaseException)]
        assert failed == ["@web", "-v", ""]
        assert {one.code for one in found if isinstance(one, TrayagentError)} == {"config-error"}

    asyncio.run(body())


def test_a_slow_name_holds_up_no_other_for_long(tmp_path: Path) -> None:
    """A name whose `Match exec` hangs gets a time-out error, and all others get their answers."""
    config = write(tmp_path, 'Match originalhost web3 exec "sleep 600"\n User slow\n')

    async def body() -> None:
        begin = time.monotonic()
        found = await all_of(SshResolver("ssh", config), NAMES)
        slow = [n for n, one in zip(NAMES, found, strict=True) if isinstance(one, BaseException)]
        assert slow == ["web3"]
        assert "took longer" in str(found[3])
        assert time.monotonic() - begin < 60

    asyncio.run(body())


def test_a_missing_program_is_reported_for_each_name() -> None:
    """Without ssh, each name gets the error `ssh-missing`."""

    async def body() -> None:
        found = await all_of(SshResolver("/nonexistent/ssh"), NAMES)
        assert {one.code for one in found if isinstance(one, TrayagentError)} == {"ssh-missing"}
        assert len(found) == len(NAMES)

    asyncio.run(body())


def test_options_are_not_mixed(tmp_path: Path) -> None:
    """Names that are resolved at the same time with different options get answers for their own options."""
    config = write(tmp_path, "Host *\n CanonicalizeHostname no\n")

    async def body() -> None:
        resolver = SshResolver("ssh", config)
        both = await asyncio.gather(
            all_of(resolver, NAMES, ("-p", "77")), all_of(resolver, NAMES, (*NO_LOOKUPS, "-p", "78"))
        )
        ports = [{one.port for one in found if isinstance(one, Resolved)} for found in both]
        assert ports == [{77}, {78}]

    asyncio.run(body())


def test_a_wait_that_is_cancelled_costs_the_others_nothing(tmp_path: Path) -> None:
    """If one waiting request is cancelled, the others still get their answers."""
    config = write(tmp_path, "Host *\n User me\n")

    async def body() -> None:
        resolver = SshResolver("ssh", config)
        asking = [asyncio.create_task(resolver.resolve(name)) for name in NAMES]
        await asyncio.sleep(0)
        for task in asking[::3]:
            task.cancel()
        found = await asyncio.gather(*asking, return_exceptions=True)
        for number, one in enumerate(found):
            assert isinstance(one, asyncio.CancelledError if number % 3 == 0 else Resolved)

    asyncio.run(body())
