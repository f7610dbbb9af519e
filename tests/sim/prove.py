"""Plays a million histories on all cores: `make prove HISTORIES=1000000`.

The run can be stopped and continued, because it writes one line for every 250 played histories. The file's name
contains a hash of the core's and the simulation's source, so a changed rule is tested again from the start. The run
shortens each history that breaks a rule, and writes it to a separate file. The exit status is then 1.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from multiprocessing import Pool
from pathlib import Path

from tests.sim.histories import (
    History,
    history,
    history_of_nodes,
    history_of_ports,
    history_of_processes,
    history_of_reports,
    history_of_requests,
    history_of_roaming,
    history_of_sessions,
    history_of_standby,
    shortest,
)
from tests.sim.playing import play
from tests.sim.reached import Reached, as_map, reached_by

_AT_A_TIME = 250
_PRINT_S = 10.0
# Five of thirteen batches are of the general kind.
_KINDS: dict[str, Callable[[int], History]] = {
    "general": history,
    "processes": history_of_processes,
    "sessions": history_of_sessions,
    "roaming": history_of_roaming,
    "reports": history_of_reports,
    "requests": history_of_requests,
    "nodes": history_of_nodes,
    "ports": history_of_ports,
    "standby": history_of_standby,
}
_IN_TURN = (
    *("general",) * 3,
    "processes",
    "requests",
    *("general",) * 2,
    "reports",
    "sessions",
    "nodes",
    "roaming",
    "ports",
    "standby",
)


@dataclass(frozen=True)
class Batch:
    """A batch of histories of one kind with consecutive seeds."""

    kind: str
    first: int
    count: int


@dataclass(frozen=True)
class Violation:
    """A history that breaks a rule: its kind and seed, its shortest form, and the transcript of the shortest form."""

    kind: str
    seed: int
    history: str
    transcript: str


@dataclass(frozen=True)
class Played:
    """The results of a batch."""

    batch: Batch
    cpu_s: float
    reached: dict[str, int]
    violations: list[Violation] = field(default_factory=list)

    def as_line(self) -> str:
        """Return the results as a line of the progress file."""
        return json.dumps(asdict(self)) + "\n"

    @staticmethod
    def of_line(line: str) -> Played:
        """Return the results from such a line. Raises ValueError if the line is incomplete."""
        raw = json.loads(line)
        violations = [Violation(**each) for each in raw["violations"]]
        return Played(Batch(**raw["batch"]), raw["cpu_s"], raw["reached"], violations)


def batches(histories: int) -> Iterator[Batch]:
    """Yield batches of all kinds, with this many histories in total."""
    seeds = dict.fromkeys(_KINDS, 0)
    for at in range(0, histories, _AT_A_TIME):
        kind = _IN_TURN[at // _AT_A_TIME % len(_IN_TURN)]
        count = min(_AT_A_TIME, histories - at)
        yield Batch(kind, seeds[kind], count)
        seeds[kind] += count


def played(batch: Batch) -> Played:
    """Play a batch, and return the results."""
    began, reached, violations = time.process_time(), Counter[str](), list[Violation]()
    for seed in range(batch.first, batch.first + batch.count):
        drawn = _KINDS[batch.kind](seed)
        try:
            reached += reached_by(play(drawn))
        except Exception:  # any exception of the core is also a defect
            short = shortest(drawn, lambda shorter: broken(shorter) is not None)
            violations.append(Violation(batch.kind, seed, repr(short), broken(short) or ""))
    return Played(batch, time.process_time() - began, dict(reached), violations)


def _collect_rarely() -> None:
    """Collect garbage rarely, because a history makes few cycles, but its log has a hundred thousand objects."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def broken(drawn: History) -> str | None:
    """Return the error if a history breaks a rule or makes the core raise, or None."""
    try:
        play(drawn)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def digest() -> str:
    """Return a short hash of the source on which the results depend."""
    found = hashlib.sha256()
    modules = (getattr(module, "__file__", None) for name, module in sys.modules.items() if _is_ours(name))
    for path in sorted(file for file in modules if file is not None):
        found.update(Path(path).read_bytes())
    return found.hexdigest()[:12]


def _is_ours(name: str) -> bool:
    return name.startswith(("trayagent.", "tests."))


class Run:
    """One run: it keeps the progress file, and prints the progress."""

    def __init__(self, directory: Path, histories: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._file = directory, directory / f"{digest()}.jsonl"
        self._histories = histories
        self._done: dict[Batch, Played] = {}
        for line in self._file.read_text().splitlines() if self._file.exists() else ():
            try:
                known = Played.of_line(line)
            except ValueError:
                continue  # the run ended while it wrote this line
            self._done[known.batch] = known
        self._before = self._count()
        self._began = self._printed = time.monotonic()

    def left(self) -> list[Batch]:
        """Return the batches that have not been played yet."""
        return [batch for batch in batches(self._histories) if batch not in self._done]

    def take(self, results: Iterable[Played]) -> None:
        """Write each result to the progress file when it arrives."""
        with self._file.open("a") as file:
            for result in results:
                self._done[result.batch] = result
                file.write(result.as_line())
                file.flush()
                for violation in result.violations:
                    self._keep(violation)
                if time.monotonic() - self._printed > _PRINT_S:
                    self._printed = time.monotonic()
                    say(self.progress())

    def progress(self) -> str:
        """Return a line with the count, the rate, the number of violations and the remaining time."""
        new, seconds = self._count() - self._before, time.monotonic() - self._began
        cpu_s = sum(result.cpu_s for result in self._done.values())
        words = [
            f"{self._count():,} of {self._histories:,} histories",
            f"{len(self.violations())} violations",
        ]
        if new:
            left_s = (self._histories - self._count()) * seconds / new
            words += [f"{new / seconds:.0f} a second", f"{self._count() / cpu_s:.0f} a second and core"]
            words.append(f"{timedelta(seconds=round(left_s))} left")
        return ", ".join(words)

    def violations(self) -> list[Violation]:
        """Return all violations so far."""
        return [violation for result in self._done.values() for violation in result.violations]

    def reached(self) -> Reached:
        """Return how often all histories together reached each part."""
        found = Counter[str]()
        for result in self._done.values():
            found.update(result.reached)
        return found

    def _count(self) -> int:
        return sum(batch.count for batch in self._done)

    def _keep(self, violation: Violation) -> None:
        path = self._directory / f"{self._file.stem}-{violation.kind}-{violation.seed}.txt"
        path.write_text(f"{violation.history}\n\n{violation.transcript}\n")
        say(
            f"violation: {violation.kind} seed {violation.seed}: {path}\n{violation.transcript.splitlines()[0]}"
        )


def say(text: str) -> None:
    """Print without buffering, also into a pipe."""
    print(text, flush=True)  # noqa: T201  # the result is the purpose of this program


def main() -> int:
    """Play the remaining batches, and print the map and the violations."""
    parser = argparse.ArgumentParser(prog="make prove", description=__doc__)
    parser.add_argument("histories", type=int, help="how many histories of all kinds together")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at the same time")
    parser.add_argument(
        "--directory", type=Path, default=Path("build/prove"), help="where the progress is kept"
    )
    asked = parser.parse_args()
    run = Run(asked.directory, asked.histories)
    with Pool(asked.jobs, initializer=_collect_rarely) as pool:
        try:
            run.take(pool.imap_unordered(played, run.left()))
        except KeyboardInterrupt:
            pool.terminate()
            say("stopped; the same command continues")
    say(f"{as_map(run.reached())}\n\n{run.progress()}")
    for violation in run.violations():
        say(f"violation: {violation.kind} seed {violation.seed}\n{violation.transcript.splitlines()[0]}")
    return 1 if run.violations() else 0


if __name__ == "__main__":
    sys.exit(main())
