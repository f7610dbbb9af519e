"""The facts of an earlier master that lets its sessions end; frozen data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Beside:
    """An ssh with a connection of its own, beside the host's master: its terminal and the program that started it."""

    terminal: str = ""
    program: str = ""


@dataclass(frozen=True, slots=True)
class Draining:
    """An earlier master of the host `owner`: it accepts no more clients, and ends with what it still carries.

    `made_at` is when its connection was made. `sessions` and `connections` are what it carried at `counted_at`. It has
    carried nothing since `idle_at`, None while it carries something. `stays`: it does not end by itself, because
    its socket was removed before it could be stopped. `beside`: it never was a master, but is judged in the same way.
    """

    owner: str
    made_at: float
    sessions: int = 0
    connections: int = 0
    counted_at: float = 0.0
    idle_at: float | None = None
    stays: bool = False
    beside: Beside | None = None
