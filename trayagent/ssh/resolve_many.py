"""Run `ssh -G` for many names with few child processes: a shell starts one ssh after the other.

The agent needs several milliseconds to start a program, and cannot answer its clients meanwhile. A shell needs one
millisecond.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from trayagent.core.facts.resolved import Resolved
from trayagent.errors import TrayagentError
from trayagent.ssh.resolve import MAX_OUTPUT, end_process, parse, resolve, ssh_words

QUICK_S = 2.0
"""The time limit of each ssh in a shell, in seconds. A slower name is resolved again alone, with its own limit."""
_SHELLS_MAX = 8  # each `ssh -G` takes 4 ms of a core
_NAMES_MAX = 16  # for each shell, because the first name waits until the last one of its shell has an answer

# Each answer ends with a NUL, the exit status, and another NUL. ssh itself prints no NUL.
_LOOP = r"""while IFS= read -r name; do "$@" "$name" </dev/null 2>/dev/null; printf '\0%d\0' $?; done"""


class _Question(Struct, frozen=True):
    """A name that waits for its answer."""

    name: str
    options: tuple[str, ...]
    within_s: float
    answer: asyncio.Future[Resolved]


class SshResolver:
    """Resolves names as `trayagent.ssh.resolve.resolve` does. Names that wait at the same time share shells."""

    def __init__(self, ssh: str = "ssh", config: str | None = None) -> None:
        self._ssh = ssh
        self._config = config
        self._waiting: deque[_Question] = deque()
        self._workers: set[asyncio.Task[None]] = set()

    async def resolve(self, name: str, options: Sequence[str] = (), within_s: float = QUICK_S) -> Resolved:
        """Return the parsed output of `ssh -G NAME`. Raise TrayagentError as `trayagent.ssh.resolve.resolve` does.

        `within_s` is the time limit of ssh, counted from its start.
        """
        answer: asyncio.Future[Resolved] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Question(name, tuple(options), within_s, answer))
        self._start_worker()
        return await answer

    def _start_worker(self) -> None:
        if len(self._workers) < _SHELLS_MAX:
            worker = asyncio.create_task(self._work(), name="ssh -G")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        """Answer until no question is left. Every error goes to the question that caused it."""
        while self._waiting:
            batch = self._next_batch()
            try:
                await self._answer(batch)
            except Exception as error:  # the caller of that question gets the error
                for question in batch:
                    if not question.answer.done():
                        question.answer.set_exception(error)
            finally:
                for question in batch:
                    question.answer.cancel()  # has no effect on an answered question

    def _next_batch(self) -> list[_Question]:
        """Take this worker's share of the questions: plain names with the same options, or a single other name."""
        share = min(_NAMES_MAX, 1 + (len(self._waiting) - 1) // _SHELLS_MAX)
        first = self._waiting.popleft()
        batch = [first]
        while _is_plain(first.name) and self._waiting and len(batch) < share:
            following = self._waiting[0]
            if following.options != first.options or not _is_plain(following.name):
                break
            batch.append(self._waiting.popleft())
        return [question for question in batch if not question.answer.done()]

    async def _answer(self, batch: list[_Question]) -> None:
        """Answer the questions, except those after a slow name, which go back into the queue."""
        if len(batch) > 1:
            texts = await self._outputs([q.name for q in batch], batch[0].options)
            for question, text in zip(batch, texts, strict=False):
                _set_answer(question, text)
            later = batch[len(texts) + 1 :]
            del batch[len(texts) + 1 :]
            self._waiting.extendleft(reversed(later))
            if later:
                self._start_worker()
        for question in batch:
            if not question.answer.done():  # the name failed, is slow, or is the only one
                await self._alone(question)

    async def _alone(self, question: _Question) -> None:
        try:
            found = await resolve(
                question.name,
                options=question.options,
                ssh=self._ssh,
                config=self._config,
                timeout_s=question.within_s,
            )
        except TrayagentError as error:
            if not question.answer.done():
                question.answer.set_exception(error)
        else:
            if not question.answer.done():
                question.answer.set_result(found)

    async def _outputs(self, names: Sequence[str], options: Sequence[str]) -> list[str]:
        """Return what `ssh -G` prints for each name, "" for a failure.

        The list ends before a name that is slow or has endless output.
        """
        words = ["/bin/sh", "-c", _LOOP, "sh", *ssh_words(self._ssh, self._config, options)]
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            child = await asyncio.create_subprocess_exec(
                *words, stdin=pipe, stdout=pipe, stderr=null, start_new_session=True, limit=MAX_OUTPUT
            )
        except OSError:
            return []
        found: list[str] = []
        try:
            if child.stdin is None or child.stdout is None:
                return []
            child.stdin.write("".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape"))
            child.stdin.close()
            with contextlib.suppress(
                TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError
            ):
                for _ in names:
                    async with asyncio.timeout(QUICK_S):
                        text = await child.stdout.readuntil(b"\0")
                        status = await child.stdout.readuntil(b"\0")
                    found.append(text[:-1].decode("utf-8", "surrogateescape") if status == b"0\0" else "")
        finally:
            await end_process(child)
        return found


def _is_plain(name: str) -> bool:
    """Report whether a name can be one line of a shell's input."""
    return bool(name) and not name.startswith("-") and not set(name) & set("\n\0")


def _set_answer(question: _Question, text: str) -> None:
    """Answer with this text. Do nothing if no caller waits any more, or if the text is empty because of a failure."""
    if not text or question.answer.done():
        return
    try:
        question.answer.set_result(parse(text))
    except TrayagentError as error:
        question.answer.set_exception(error)
