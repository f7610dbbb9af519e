"""Checks keys and the ssh-agent: whether a login without the user is possible."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from trayagent.core.facts.resolved import Resolved
from trayagent.doctor.deadlines import aside
from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.gather_facts import Case
from trayagent.ssh.login.read_keys import agent_keys, agent_socket, passphrase_needed

Held = Callable[[str | None], int | None]
"""A function that returns how many keys the ssh-agent at a socket holds; None without an ssh-agent."""

TRIES = 6
"""How many keys most servers try before they disconnect: sshd_config(5), MaxAuthTries. OpenSSH 10.6 tries six more."""

# The keys that ssh tries if no IdentityFile is set (ssh_config(5)). Missing keys are normal.
_DEFAULT = {
    f"id_{kind}" for kind in ("rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk", "xmss", "dsa", "mldsa")
}


async def check(case: Case) -> Iterable[Finding]:
    """Report why the agent cannot log in automatically."""
    return await aside(lambda: _examine(case))


def _examine(case: Case) -> list[Finding]:
    held = cache(agent_keys)
    found: dict[Finding, None] = {}
    for name, host, resolved in case.wanted():
        if host.interactive or not resolved.pubkey_authentication:
            continue  # only the user logs in to this host
        found |= dict.fromkeys([*_files(name, resolved), *_login(case, name, resolved, held)])
    sock = case.env.get("SSH_AUTH_SOCK")
    if sock and held(sock) is None:
        title = f"No ssh-agent answers at SSH_AUTH_SOCK: {sock}"
        why = "ssh continues without one, and keys with a passphrase cannot be used."
        remedy = "Log in again, or start an ssh-agent in this shell and add your keys:"
        found[advice("agent-dead", title, why, remedy, 'eval "$(ssh-agent)"', "ssh-add")] = None
    return [*found] or [ok(_summary(sock, held(sock)))]


def _summary(sock: str | None, keys: int | None) -> str:
    if not sock:
        return "no ssh-agent in this session, and none is needed"
    if keys == 0:
        return "the ssh-agent offers no key (it is empty, or locked), and none is needed"
    return "the ssh-agent offers one key" if keys == 1 else f"the ssh-agent offers {keys} keys"


def _files(name: str, resolved: Resolved) -> Iterator[Finding]:
    """Yield key files that are missing, or that ssh refuses to read."""
    for text in resolved.identity_files:
        path = Path(text).expanduser()
        if not path.is_file():
            # A public key file without a private one is no mistake: it selects a key in the ssh-agent.
            if (
                path.name not in _DEFAULT
                and "%" not in text
                and not path.with_name(f"{path.name}.pub").is_file()
            ):
                title = f"{name}: its IdentityFile is not there: {text}"
                why = "ssh continues with other keys, if there are any."
                yield advice(
                    "key-missing",
                    title,
                    why,
                    "Remove the line from ssh_config, or restore the key.",
                    host=name,
                )
            continue
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            title = f"The key {text} is open to others (mode {mode:o})"
            yield problem(
                "key-open",
                title,
                "ssh does not use such a key.",
                "Restrict it:",
                f"chmod 600 {_quoted(text)}",
            )


def _login(case: Case, name: str, resolved: Resolved, held: Held) -> Iterator[Finding]:
    """Yield what is missing for a login without the user."""
    sock = agent_socket(resolved, case.env)
    keys = held(sock)
    present = [text for text in resolved.identity_files if Path(text).expanduser().is_file()]
    # If the host is connected, a login succeeded somehow. Only the next automatic login would show the problem.
    make = advice if case.state(name) == "connected" else problem
    agent_says = "there is no ssh-agent" if keys is None else "the ssh-agent is empty, or locked"
    if (locked := passphrase_needed(sock, resolved.identity_files)) is not None:
        shown = next((text for text in present if Path(text).expanduser() == locked), str(locked))
        title = f"The key {shown} needs its passphrase, and {agent_says}"
        why = f"An automatic login cannot ask for the passphrase: {name} then waits until you enter it."
        yield make("passphrase-needed", title, why, *_unlock(keys, shown), host=name)
    elif not present and not keys and not resolved.gssapi_authentication and resolved.pkcs11_provider is None:
        title = f"{name}: there is no key to log in with: no file, and {agent_says}"
        why = "Without a key only you can log in."
        yield make("no-key", title, why, *_make(keys, name), host=name)
    elif keys and keys >= TRIES and not resolved.identities_only and not _explicit(present):
        title = f"{name}: the ssh-agent offers {keys} keys, and most servers disconnect after {TRIES}"
        why = "ssh may never try the right key, and the server logs failed logins."
        lines = (f"Host {name}", "    IdentityFile ~/.ssh/THE_KEY", "    IdentitiesOnly yes")
        yield advice("too-many-keys", title, why, f"Name the key in {case.ssh_config}:", *lines, host=name)


def _quoted(path: str) -> str:
    """Return a path quoted for a shell, with a leading ~ that the shell expands."""
    return f"~/{shlex.quote(path[2:])}" if path.startswith("~/") else shlex.quote(path)


def _explicit(present: list[str]) -> bool:
    return any(Path(text).name not in _DEFAULT for text in present)


def _unlock(keys: int | None, path: str) -> tuple[str, ...]:
    if keys is None:
        return ("Start an ssh-agent and add the key:", 'eval "$(ssh-agent)"', f"ssh-add {_quoted(path)}")
    return (
        "Add the key (or unlock the ssh-agent, if you locked it: ssh-add -X):",
        f"ssh-add {_quoted(path)}",
    )


def _make(keys: int | None, name: str) -> tuple[str, ...]:
    if keys == 0:
        return ("If you locked the ssh-agent, unlock it. If not, add your key:", "ssh-add -X", "ssh-add")
    return ("Create a key, and install it on the server:", "ssh-keygen -t ed25519", f"ssh-copy-id {name}")
