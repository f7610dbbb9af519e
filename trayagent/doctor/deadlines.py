"""Runs work that may hang (programs, files, sockets). A deadline of the caller ends the wait."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")

_OUTPUT_MAX = 256 * 1024


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """A program's exit status and output."""

    status: int
    output: str
    errors: str


async def each(
    items: Iterable[Item], work: Callable[[Item], Awaitable[T]], *, at_once: int, within_s: float
) -> tuple[list[T], list[Item]]:
    """Do the work for each item, `at_once` of them at a time.

    Return the results, and the items that were not started within `within_s` seconds. Work that has begun is never
    cancelled, because asyncio loses a child process if its start is cancelled. So each piece of work needs its own time
    limit.
    """
    admission, until = asyncio.Semaphore(at_once), asyncio.get_running_loop().time() + within_s
    late: list[Item] = []

    async def one(item: Item) -> list[T]:
        async with admission:
            if asyncio.get_running_loop().time() < until:
                return [await work(item)]
        late.append(item)
        return []

    found = await asyncio.gather(*map(one, items))
    return [outcome for outcomes in found for outcome in outcomes], late


async def run_program(words: Sequence[str]) -> ProgramResult:
    """Run a program to its end, and return its output.

    When the caller's deadline passes, the program and all processes that it started are killed. Raises OSError if the
    program cannot be started.
    """
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    child = await asyncio.create_subprocess_exec(
        *words, stdin=null, stdout=pipe, stderr=pipe, start_new_session=True, limit=_OUTPUT_MAX
    )
    try:
        output, errors = await child.communicate()
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
    return ProgramResult(
        child.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace")
    )


async def aside(work: Callable[[], T]) -> T:
    """Do blocking work in a daemon thread, so that this program can end even if a file system hangs.

    Raises whatever the work raises.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def set_outcome(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # without an error there is a result

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as e:  # the caller raises the error
            error = e
        with contextlib.suppress(RuntimeError):  # a closed loop: no caller waits any more
            loop.call_soon_threadsafe(set_outcome, result, error)

    threading.Thread(target=run, name="doctor", daemon=True).start()
    return await done
