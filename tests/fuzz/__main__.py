"""Fuzzes the targets one after another: `make fuzz`. The exit status is 1 if a target raised.

What libFuzzer learns is kept in build/fuzz, so the next run continues. An input that makes a target raise is written
there, too. Once it is fixed, add it to FOUND in test_fuzz_targets.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS

CORPUS, LEARNED = Path(__file__).parent / "corpus", Path("build/fuzz")
LONGEST, SLOWEST_S = 2000, 10  # of one input, in bytes and in seconds


def fuzz(target: str, seconds: int) -> bool:
    """Fuzz one target for this long. Report whether it accepted everything."""
    learned = LEARNED / target
    learned.mkdir(parents=True, exist_ok=True)
    options = {
        "max_total_time": seconds,
        "max_len": LONGEST,
        "timeout": SLOWEST_S,
        "artifact_prefix": f"{LEARNED}/{target}-",
    }
    words = [f"-{name}={value}" for name, value in options.items()]
    module = [sys.executable, "-m", "tests.fuzz.one_target", target]
    log = LEARNED / f"{target}.log"
    with log.open("wb") as file:
        ended = subprocess.run([*module, *words, learned, CORPUS / target], stderr=file, check=False)
    print(f"{target}: {'passed' if ended.returncode == 0 else f'failed, see {log}'}", flush=True)  # noqa: T201
    return ended.returncode == 0


def main() -> int:
    """Fuzz the given targets, or all."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", choices=[[], *TARGETS], help="what to fuzz (default: everything)"
    )
    parser.add_argument("--seconds", type=int, default=60, help="how long to fuzz each target")
    asked = parser.parse_args()
    results = [fuzz(target, asked.seconds) for target in asked.targets or TARGETS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
