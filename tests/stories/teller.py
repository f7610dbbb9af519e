"""The teller of a story: it sends events to `decide` and records the actions and reasons, with times."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence

from msgspec.structs import fields, replace

from tests.stories.scenes import NOTHING, Scene
from trayagent.cli.why_sentences import sentence
from trayagent.core.decide import decide
from trayagent.core.decision_context import Why
from trayagent.core.display_state import display_problem, display_state
from trayagent.core.facts import actions as a
from trayagent.core.facts import events as e
from trayagent.core.facts.draining import Draining
from trayagent.core.facts.failure import Failure, FailureKind
from trayagent.core.facts.hosts import Hop, Host, Wish
from trayagent.core.facts.masters import Master
from trayagent.core.facts.mptcp import Outcome
from trayagent.core.facts.network import Touched
from trayagent.core.facts.problems import Code, Problem
from trayagent.core.facts.resolved import HostKeyChecking, Resolved
from trayagent.core.facts.state import State
from trayagent.core.facts.vpns import Vpn
from trayagent.core.usable_routes import lookups

SERVER = "203.0.113.10"
LOCAL = "192.168.10.2"
HOST_KEY = "ssh-ed25519 SHA256:web"
ALWAYS = Wish(listed=True, connect="always")
ON_USE = Wish(listed=True, connect="on-use")

_CODES: dict[FailureKind, Code] = {
    "auth": "auth-denied",
    "timed-out": "timed-out",
    "refused": "refused",
    "dropped": "refused",
    "closed": "refused",
    "host-key-changed": "host-key-changed",
    "host-certificate": "host-certificate",
    "config": "config-error",
    "control-path": "control-path-taken",
    "unwritable": "disk-full",
    "unreachable": "unreachable",
    "proxy-command": "jump-host-failed",
    "proxy-login": "auth-denied",
    "dns": "name-not-found",
}
_CONTROLS = {"control", "dial", "bare-control", "wait"}
# The verdicts of each row of the table in docs/architecture.md. Any other decision has row 0.
_TABLE: dict[int, set[str]] = {
    1: {"dial", "ended", "put in place", "roaming-ended", "wait"},
    2: {"end", "offline"},
    3: _CONTROLS,
    4: _CONTROLS | {"moved"},
    5: {"probe", "wait"},
    6: {"keep", "wait"},
    7: _CONTROLS | {"second probe"},
    8: {"grace", "wait"},
    9: {"kill", "replace"},
    10: {"failed", "wait"},
    11: {"wait"},
    12: {"probe"},
}
_UNTOLD = (a.SetTimer, a.ReadNetwork, a.Publish, a.Remember, a.Resolve, a.Observe, a.CountCarried)


def failure(
    kind: FailureKind, *, positive: bool = False, by_jump: bool = False, perhaps_refused: bool = False
) -> Failure:
    """Return a failure of this kind, with a matching problem."""
    problem = Problem(_CODES.get(kind, "unknown"), f"it is {kind}")
    return Failure(problem, kind, positive, by_jump=by_jump, perhaps_refused=perhaps_refused)


class Story:
    """Keeps the state, the clock and the transcript.

    `t` is the number of seconds since the story began. Timers that a decision sets fire automatically while time
    passes. A banner check ends at once; `banner` determines whether it succeeds. Queries of the kernel are answered
    at once: `acked`, `ahead`, `due`, `moved`, `adrift`, `stopped`, `unsent`, `unused` and `heard` (when data last came)
    hold the kernel's reports on each host's master. `known_keys` are the keys in known_hosts. The server proved its
    host key in the attempts of the hosts `unanswered` before the agent ended these attempts.
    """

    def __init__(self) -> None:
        self.state = State()
        self.t = 0.0
        self.scene = NOTHING
        self.acked: dict[str, int] = {}
        self.due: dict[str, float] = {}
        self.banner = False
        self.checks: list[tuple[float, str]] = []
        self.ahead: dict[str, int] = {}
        self.moved: dict[str, Master] = {}
        self.adrift: set[str] = set()
        self.stopped: set[str] = set()
        self.unsent: set[str] = set()
        self.unused: set[str] = set()
        self.heard: dict[str, float] = {}
        self.unanswered: set[str] = set()
        self.known_keys: dict[str, Sequence[str]] = {}
        self.actions: list[a.Action] = []
        self.tells: list[a.Publish] = []
        self.whys: list[Why] = []
        self._timers: dict[str, float] = {}
        self._lines: list[str] = []
        self._last: dict[str, tuple[int, str]] = {}
        self._pid = 100

    # Events.

    def post(self, event: e.Event, words: str = "") -> None:
        """Post an event now."""
        self._lines.append(f"{self.t:.3f} {words or type(event).__name__}")
        self._decide(event)
        self._read_what_is_missing()

    def after(self, seconds: float) -> Story:
        """Let time pass. Each timer fires at its own time."""
        until = self.t + seconds
        while (due := min(((at, n) for n, at in self._timers.items()), default=None)) and due[0] <= until:
            at, name = due
            del self._timers[name]
            self.t = max(self.t, at)
            before = len(self._lines)
            self._decide(e.TimerExpired(self.t, name))
            if len(self._lines) > before:
                self._lines.insert(before, f"{self.t:.3f} the time came for {name}")
        self.t = until
        return self

    def network(self, scene: Scene, touched: Touched | None = None) -> None:
        """Change the network to this scene."""
        self.scene = scene
        self.post(self._read(touched or Touched()), f"network: {scene.label}{_flicker(touched)}")

    def configured(
        self,
        *,
        wishes: dict[str, Wish] | None = None,
        keep_while_offline_s: float = 600.0,
        vpns: tuple[Vpn, ...] = (),
        adopt: bool = True,
        learn_vpn: bool = True,
        **more: Wish,
    ) -> None:
        """Post a configuration."""
        every = {**(wishes or {}), **more}
        self.post(e.Configured(self.t, every, vpns, adopt, keep_while_offline_s, learn_vpn), "configured")

    def resolved(
        self,
        name: str,
        *,
        server: str = SERVER,
        strict: HostKeyChecking = "ask",
        jump: str | None = None,
        command: str | None = None,
        hop: Hop | tuple[Hop | None, ...] | None = None,
        port: int = 22,
        user: str = "",
    ) -> None:
        """Post a result of `ssh -G`. `hop` is the first TCP hop (None: a command), or all hops."""
        answer = Resolved(
            name,
            server,
            port=port,
            user=user,
            control_path=f"/cm/{name}",
            proxy_jump=jump,
            proxy_command=command,
            strict_host_key_checking=strict,
            plain_connect=jump is None and command is None,
        )
        hops = hop if isinstance(hop, tuple) else (hop or (Hop(server, port) if command is None else None),)
        later = tuple(other for other in hops[1:] if other is not None)
        keys = frozenset(self.known_keys.get(name, ()))
        self._quiet(e.HostResolved(self.t, name, answer, hops[0], known_keys=keys, later_hops=later))

    def started(self) -> None:
        """End the agent's first scan of the machine."""
        self.post(e.Started(self.t), "started")

    def found(
        self,
        name: str,
        *,
        fresh: bool = True,
        unnamed: bool = False,
        survivor: bool = False,
        **facts: object,
    ) -> Master:
        """Report a living master to the agent."""
        master = self.master(name, **facts)
        age = "fresh" if fresh else "old"
        found = e.MasterFound(self.t, name, master, unnamed, fresh, survivor)
        self.post(found, f"found {name} pid={master.pid} {age}")
        return master

    def ended(
        self,
        name: str,
        pid: int | None = None,
        *,
        by_request: bool = False,
        in_order: bool = False,
        kind: FailureKind | None = None,
    ) -> None:
        """Let a master's process end."""
        pid = pid or self.living(name).pid
        said = failure(kind) if kind is not None else None
        self.post(e.MasterEnded(self.t, name, pid, said, by_request, in_order), f"ended {name} pid={pid}")

    def answered(self, name: str) -> None:
        """Let the master answer its probe."""
        self.post(e.ProbeAnswered(self.t, name, self.living(name).pid), f"probe of {name} answered")

    def old_answers(self, name: str) -> None:
        """Let the host's master answer a running probe, if any, without an entry in the transcript."""
        host = self.host(name)
        if host.master is not None and host.doubt.probe is not None:
            self._quiet(e.ProbeAnswered(self.t, name, host.master.pid))

    def established(
        self,
        name: str,
        local: str | None = None,
        peer: str | None = None,
        *more: str,
        mptcp: Outcome | None = None,
    ) -> None:
        """Let the host's attempt connect from `local` to `peer`. The name also leads to `more`."""
        addresses = frozenset({peer, *more}) if peer is not None else frozenset[str]()
        event = e.AttemptEstablished(self.t, name, self._attempt(name), local, peer, addresses, mptcp)
        self.post(event, f"attempt of {name} established")

    def ready(
        self,
        name: str,
        *,
        bare: bool = False,
        host_key: str | None = HOST_KEY,
        trusted: bool = True,
        **facts: object,
    ) -> Master | None:
        """Let the host's attempt succeed. `trusted` applies to a bare control."""
        master = None if bare else self.master(name, started_by_agent=True, host_key=host_key, **facts)
        words = "answered" if master is None else f"ready pid={master.pid}"
        number = self._attempt(name)
        event = e.AttemptReady(self.t, name, number, master, host_key=host_key, trusted=bare and trusted)
        self.post(event, f"attempt of {name} {words}")
        return master

    def fails(
        self,
        name: str,
        kind: FailureKind,
        *,
        positive: bool = False,
        by_jump: bool = False,
        perhaps_refused: bool = False,
        host_key: str | None = HOST_KEY,
    ) -> None:
        """Let the host's attempt fail. A positive failure comes after the proof of the host key."""
        words = f"attempt of {name} failed: {kind}{' positive' * positive}"
        said = failure(kind, positive=positive, by_jump=by_jump, perhaps_refused=perhaps_refused)
        key = host_key if positive or perhaps_refused else None
        self.post(e.AttemptFailed(self.t, name, self._attempt(name), said, host_key=key), words)

    def took_over(self, name: str, *, sessions: int = 0, stays: bool = False) -> None:
        """Finish the requested take-over. The old master ends, unless it drains with these sessions.

        `stays`: the old master could not be stopped.
        """
        asked = next(x for x in reversed(self.actions) if isinstance(x, a.TakeOver) and x.name == name)
        new = replace(asked.master, control_path=self.host(name).hidden_path or f"/cm/{name}")
        done, words = e.TookOver(self.t, name, asked.attempt, new), f"took over {name} pid={new.pid}"
        if asked.drain and asked.old is not None and sessions:
            old = replace(asked.old, control_path="")
            carries = Draining(name, self.t - 60, sessions, stays=stays)
            self.post(replace(done, drained=old, draining=carries), f"{words} drained={old.pid}")
            return
        if asked.old is not None and self.host(name).master == asked.old:
            self._quiet(e.MasterEnded(self.t, name, asked.old.pid))
        self.post(done, words)

    def carried(self, name: str, sessions: int) -> None:
        """Let the kernel report how many sessions the draining master carries."""
        event = e.Carried(self.t, name, self.living(name).pid, sessions, 0)
        self.post(event, f"{name} carries {sessions}")

    # Beginnings that many stories share.

    def connected(
        self,
        name: str = "web",
        wish: Wish = ALWAYS,
        scene: Scene | None = None,
        *,
        server: str = SERVER,
        strict: HostKeyChecking = "ask",
        user: str = "",
        **facts: object,
    ) -> Master:
        """Begin with one host that is connected from home, without an entry in the transcript."""
        self.scene = scene if scene is not None else self.scene
        self._quiet(e.Configured(self.t, {**{h.name: h.wish for h in self.state.hosts.values()}, name: wish}))
        self.resolved(name, server=server, strict=strict, user=user)
        self._quiet(self._read(Touched()))
        master = self.master(name, **{"started_by_agent": True, "peer": server, **facts})
        self._quiet(e.MasterFound(self.t, name, master, fresh=True))
        self._quiet(e.Started(self.t))
        self.actions.clear()
        return master

    def reconnected(self, name: str = "web", **facts: object) -> Master:
        """Let the host's attempt succeed and take over, without an entry in the transcript.

        If the old master was probed, it answers.
        """
        self.old_answers(name)
        new = self.master(name, started_by_agent=True, **{"host_key": HOST_KEY, **facts})
        self._quiet(e.AttemptReady(self.t, name, self._attempt(name), new, host_key=HOST_KEY))
        self.took_over(name)
        self.forget()
        return new

    def master(self, name: str, **facts: object) -> Master:
        """Return a new master with a new pid, at the machine's current address."""
        self._pid += 1
        known = {f.name for f in fields(Master)}
        assert set(facts) <= known, f"a master has no {set(facts) - known}"
        plain = Master(
            self._pid, 7, f"/cm/{name}", local=self._address(), local_port=50000, peer=SERVER, peer_port=22
        )
        return replace(plain, **{"min_rtt_s": 0.050, **facts})

    # Results.

    def expect(self, text: str) -> None:
        """Compare the transcript since the last call with the text, and start a new transcript."""
        want = textwrap.dedent(text).strip().splitlines()
        got, self._lines = self._lines, []
        self._last.clear()
        diff = "\n".join(difflib.unified_diff(want, got, "told", "happened", lineterm="", n=50))
        assert want == got, f"\n{diff}"

    def forget(self) -> None:
        """Start a new transcript without a comparison, and forget the actions so far."""
        self._lines = []
        self.actions.clear()
        self._last.clear()

    def host(self, name: str) -> Host:
        """Return a host's facts."""
        return self.state.hosts[name]

    def living(self, name: str) -> Master:
        """Return a host's living master."""
        master = self.host(name).master
        assert master is not None, f"{name} has no master"
        return master

    def shown(self, name: str) -> str:
        """Return the state that `status` shows."""
        return display_state(self.host(name), self.state, self.t)

    def problem(self, name: str) -> str | None:
        """Return the code of the problem that `status` shows."""
        problem = display_problem(self.host(name), self.state, self.t)
        return problem.code if problem is not None else None

    def why(self, name: str) -> str:
        """Return the evidence of the last decision about a host."""
        return next(str(w.evidence) for w in reversed(self.whys) if w.name == name)

    def sentences(self, name: str = "web") -> list[str | None]:
        """Return the sentences of `trayagent why` about a host."""
        return [
            sentence(w.row, w.verdict, [[*pair] for pair in w.evidence.pairs])
            for w in self.whys
            if w.name == name
        ]

    def told(self, event: str) -> list[a.Publish]:
        """Return the published events with that name."""
        return [tell for tell in self.tells if tell.event == event]

    def did(self, kind: type[a.Action], name: str = "web") -> list[a.Action]:
        """Return the actions of this kind for a host."""
        return [x for x in self.actions if isinstance(x, kind) and x.name == name]

    # Helpers.

    def _quiet(self, event: e.Event) -> None:
        before = len(self._lines)
        self._decide(event)
        self._read_what_is_missing()
        del self._lines[before:]

    def _decide(self, event: e.Event) -> None:
        decision = decide(self.state, event)
        self.state = decision.state
        done = {why.name for why in decision.whys if why.verdict != "wait"}
        for why in decision.whys:
            self.whys.append(why)
            assert why.row == 0 or why.verdict in _TABLE[why.row], why
            if why.verdict == "wait" and why.name in done:
                continue  # redundant, because another line of this decision shows the cause of the wait
            if self._last.get(why.name) != (why.row, why.verdict):
                self._lines.append(f"        {why.name}: row {why.row} {why.verdict}")
            self._last[why.name] = (why.row, why.verdict)
        self.actions.extend(decision.actions)
        self.tells += [x for x in decision.actions if isinstance(x, a.Publish)]
        self._lines += [f"    {_words(x)}" for x in decision.actions if not isinstance(x, _UNTOLD)]
        for action in decision.actions:
            if isinstance(action, a.SetTimer):
                self._timers.pop(action.name, None)
                if action.at is not None and action.at != float("inf"):
                    self._timers[action.name] = action.at
        self._end_attempts(decision.actions)
        for action in decision.actions:
            if isinstance(action, a.Observe):  # the kernel's report comes after the decisions
                self._kernel_says(action)
            if isinstance(action, a.ReadNetwork):
                self._decide(self._read(Touched()))

    def _kernel_says(self, action: a.Observe) -> None:
        due = self.due.get(action.name)
        left = None if due is None or due < self.t else due - self.t
        acked = self.acked.get(action.name, 0)
        ahead = self.ahead.get(action.name, 0)
        now, adrift = self.moved.get(action.name), action.name in self.adrift
        stopped = action.name in self.stopped
        self._decide(
            e.Observed(
                self.t, action.name, action.master.pid, acked, left, ahead,
                now=now, adrift=adrift, stopped=stopped, probed_at=action.probed_at,
                unused=action.name in self.unused, unsent=action.name in self.unsent,
                heard_s=self.t - self.heard[action.name] if action.name in self.heard else None,
            )
        )  # fmt: skip

    def _read(self, touched: Touched) -> e.NetworkRead:
        return e.NetworkRead(
            self.t, self.scene.snapshot(lookups(self.state.hosts.values(), self.state.snapshot)), touched
        )

    def _read_what_is_missing(self) -> None:
        while (
            not lookups(self.state.hosts.values(), self.state.snapshot) <= self.state.snapshot.matched.keys()
        ):
            self._decide(self._read(Touched()))

    def _end_attempts(self, actions: Sequence[a.Action]) -> None:
        for action in actions:
            if isinstance(action, a.Abort):
                found = failure("timed-out", perhaps_refused=True) if action.name in self.unanswered else None
                self._decide(e.AttemptCut(self.t, action.name, action.attempt, found, HOST_KEY))
            checking = self._checking(action.name) if isinstance(action, a.DialBare) else None
            if checking is None:
                continue
            self.checks.append((self.t, action.name))
            if self.banner:
                self._decide(e.AttemptReady(self.t, action.name, checking))
            else:
                self._decide(e.AttemptFailed(self.t, action.name, checking, failure("timed-out")))

    def _checking(self, name: str) -> int | None:
        attempt = self.host(name).attempt
        return attempt.id if attempt is not None and attempt.purpose == "check" else None

    def _attempt(self, name: str) -> int:
        attempt = self.host(name).attempt
        assert attempt is not None, f"{name} has no attempt"
        return attempt.id

    def _address(self) -> str:
        faces = [i for i in self.scene.interfaces if i.kind == "physical" and i.up and i.addresses]
        return faces[0].addresses[0].ip if faces else LOCAL


def _flicker(touched: Touched | None) -> str:
    if not touched:
        return ""
    seen = sorted(touched.links | touched.addresses | touched.routes)
    return f" ({' '.join(seen) or 'messages lost'} flickered)"


def _words(action: a.Action) -> str:
    match action:
        case a.Dial():
            where = " background" if action.background else ""
            there = f" at {action.address}" if action.address is not None else ""
            through = f" through {action.interface}" if action.interface is not None else ""
            return f"dial {action.name} #{action.attempt} {action.purpose}{where}{there}{through}"
        case a.Redial():
            return f"redial {action.name} #{action.attempt}"
        case a.DialBare():
            return f"bare-control {action.name} #{action.attempt} {action.peer}:{action.port}"
        case a.Abort():
            return f"abort {action.name} #{action.attempt}{' silently' * action.silently}"
        case a.TakeOver():
            old = f"{action.old.pid}{' drains' * action.drain}" if action.old is not None else "nothing"
            return f"take over {action.name} #{action.attempt} pid={action.master.pid} old={old}"
        case a.Kill():
            return f"kill {action.name} pid={action.master.pid}{' gently' * action.gently}"
        case a.SendProbe():
            return f"{'second probe' if action.second else 'probe'} {action.name} pid={action.master.pid}"
        case a.Discard():
            return f"discard {action.name} pid={action.master.pid}{' silently' * action.silently}"
        case a.EnsureForwards():
            return f"ensure forwards {action.name}"
        case _:
            return f"{type(action).__name__} {action.name}"
