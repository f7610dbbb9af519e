"""Tests changed keys beside a living master. The result is posted as an event."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trayagent.agent.masters.connect import jitter
from trayagent.agent.masters.explain_failure import locked
from trayagent.agent.parts import Parts
from trayagent.core.facts.actions import TryKeys
from trayagent.core.facts.events import TrialEnded, TrialVerdict
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host
from trayagent.core.policy.logins.login_deadline import deadline_s
from trayagent.core.policy.logins.when_to_retry import REFUSED_KINDS
from trayagent.ssh.login.background_guard import without_windows
from trayagent.ssh.login.classify_failure import classify, perhaps_refused
from trayagent.ssh.login.login_keys import LoginKeys, login_keys, login_obstacle
from trayagent.ssh.login.read_keys import agent_socket, identities, kind_of, wants_passphrase
from trayagent.ssh.login.trial_login import Tried, log_in, mark_of, trial_command

log = logging.getLogger(__name__)

Outcome = tuple[TrialVerdict, Evidence, Failure | None, str | None]
"""The result of a trial: the verdict, its evidence, the failure, and the host key that the server proved."""


class KeyTrials:
    """Checks whether a server accepts a login with the changed keys."""

    def __init__(self, parts: Parts) -> None:
        self._file_paths = parts.file_paths
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._environment = parts.environment

    def begin(self, action: TryKeys, host: Host) -> None:
        """Start a trial. It is an attempt like any other, so `MasterConnector.abort` can end it."""
        self._tasks.start(f"attempt {action.attempt}", self._try(action, host))

    async def _try(self, action: TryKeys, host: Host) -> None:
        verdict: TrialVerdict = "unknown"
        evidence, failure = Evidence.of(ended="unexpectedly"), None
        host_key: str | None = None
        try:
            verdict, evidence, failure, host_key = await self._outcome(action, host)
        finally:
            self._shell.post(
                TrialEnded(
                    time.monotonic(),
                    action.name,
                    action.attempt,
                    verdict,
                    evidence,
                    failure,
                    jitter(),
                    host_key,
                )
            )

    async def _outcome(self, action: TryKeys, host: Host) -> Outcome:
        resolved = host.resolved
        if resolved is None:
            return "skipped", Evidence.of(resolved="no"), None, None
        environment = self._environment.current()
        # An ssh-agent that hangs must not block the event loop.
        held = await asyncio.to_thread(identities, agent_socket(resolved, environment))
        keys = login_keys(resolved, held)
        obstacle = login_obstacle(resolved, keys)
        if obstacle:
            return "skipped", obstacle, None, None
        log_file = self._file_paths.runtime_dir / f"trial-{os.getpid()}-{action.attempt}.log"
        with self._public_key_files(action.attempt, keys.agent) as key_files:
            words = trial_command(
                host.name,
                resolved,
                key_files,
                mark=mark_of(self._file_paths.runtime_dir),
                log=log_file,
                files=[str(path) for path in keys.files],
                ssh=self._file_paths.ssh,
                config=self._file_paths.ssh_option_f,
            )
            # Without the ssh-agent and windows, because a jump host's ssh must not prompt the user either.
            quiet = {k: v for k, v in without_windows(environment).items() if k != "SSH_AUTH_SOCK"}
            try:
                tried = await log_in(words, quiet, log_file, deadline_s=deadline_s(resolved.hops))
            except OSError as error:
                return "unknown", Evidence.of(ssh=error.strerror or error), None, None
        return *judged(host.name, tried, key_files, keys), tried.proven.host_key

    @contextmanager
    def _public_key_files(self, attempt: int, keys: Sequence[bytes]) -> Iterator[list[str]]:
        """Write public keys to files for ssh to offer. Yield their paths; remove the files afterwards."""
        paths = [
            self._file_paths.runtime_dir / f"trial-{os.getpid()}-{attempt}-{n}.pub"
            for n, _ in enumerate(keys)
        ]
        try:
            for path, key in zip(paths, keys, strict=True):
                path.touch(mode=0o600)  # ssh refuses a key file that others may read
                path.write_text(f"{kind_of(key)} {base64.b64encode(key).decode()}\n")
            yield [str(path) for path in paths]
        finally:
            for path in paths:
                path.unlink(missing_ok=True)


def judged(
    name: str, tried: Tried, key_files: Sequence[str], keys: LoginKeys
) -> tuple[TrialVerdict, Evidence, Failure | None]:
    """Return the verdict of a trial, its evidence, and the failure if the login failed."""
    if tried.authenticated:
        return "passed", Evidence.of(login="accepted"), None
    if tried.accepted.intersection(key_files):
        return "passed", Evidence.of(agent_key="accepted", signed="no"), None
    key = next((p for p in keys.files if str(p) in tried.accepted and wants_passphrase(p)), None)
    if key is not None:
        return (
            "refused",
            Evidence.of(key=key.name, accepted="yes", locked="yes"),
            locked(key, name, positive=True),
        )
    output = tried.output
    failure = classify(
        output.own, host=name, exit_status=tried.status, others=output.others, proven=tried.proven.after
    )
    failure = perhaps_refused(failure, tried.proven, name)
    evidence = Evidence.of(kind=failure.kind, positive=failure.positive)
    proven = failure.positive and failure.kind in REFUSED_KINDS
    return "refused" if proven else "unknown", evidence, failure
