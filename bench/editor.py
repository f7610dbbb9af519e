"""A program for the laptop that uses ssh as editors do: one `ssh -T -D` for a conversation and for a SOCKS proxy.

Usage: editor.py HOST PORT TARGET. It sends each line of its input to a program in the session, and through the proxy
on PORT to the port TARGET of the server. It prints the line when both have echoed the line, and ends with status 1
if the session or the proxy connection ends.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(host: str, port: str, target: str) -> int:
    """Start ssh and the proxy connection, then pass lines. Return the exit status."""
    session = start(["ssh", "-T", "-o", "ExitOnForwardFailure=yes", "-D", port, host, "echo ready; exec cat"])
    try:
        if answer(session) != "ready\n":
            return 1
        talk = Path(__file__).with_name("talk.py")
        proxy = start([sys.executable, "-I", str(talk), "1", "127.0.0.1", port, target])
        for line in sys.stdin:
            for child in (session, proxy):
                say(child, line)
            if answer(session) != line or answer(proxy) != line:
                return 1
            print(line, end="", flush=True)  # noqa: T201  # the answer
        return 0
    finally:
        session.kill()


def start(words: list[str]) -> subprocess.Popen[str]:
    """Start a program with pipes."""
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def say(child: subprocess.Popen[str], line: str) -> None:
    """Send a line. If the program has ended, do nothing, because `answer` will then return an empty line."""
    try:
        if child.stdin:
            child.stdin.write(line)
            child.stdin.flush()
    except BrokenPipeError:
        pass


def answer(child: subprocess.Popen[str]) -> str:
    """Return the next line of a program, or an empty line after its end."""
    return child.stdout.readline() if child.stdout else ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
