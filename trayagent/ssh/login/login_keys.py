"""Find the keys that ssh would use for a login, and whether that login would need the user."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from trayagent.core.facts.evidence import NO_EVIDENCE, Evidence
from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.login.read_keys import existing, is_private, kind_of, public_key, wants_passphrase


class LoginKeys(Struct, frozen=True):
    """The existing key files, and the ssh-agent's public keys, that a login would offer."""

    files: tuple[Path, ...]
    agent: tuple[bytes, ...]


def login_keys(resolved: Resolved, agent: tuple[bytes, ...] | None) -> LoginKeys:
    """Return the keys that a login to the host offers.

    `agent` are the keys in the ssh-agent, None without an ssh-agent.

    With IdentitiesOnly, a key of the ssh-agent counts only if an IdentityFile or certificate names it
    (ssh_config(5)).
    """
    files = existing(resolved.identity_files)
    held = agent or ()
    if resolved.identities_only:
        certificates = (Path(text).expanduser() for text in resolved.certificate_files)
        named = {public_key(path) for path in (*files, *certificates)}
        held = tuple(key for key in held if key in named)
    return LoginKeys(files, held)


def login_obstacle(resolved: Resolved, keys: LoginKeys) -> Evidence:
    """Return why a login would need the user or would be impossible, or NO_EVIDENCE if neither is so."""
    if resolved.pkcs11_provider is not None:
        return Evidence.of(key="hardware")
    kinds = [kind_of(key) for key in (*filter(None, map(public_key, keys.files)), *keys.agent)]
    if any(kind.startswith("sk-") for kind in kinds):
        return Evidence.of(key="security_key")
    private = [path for path in keys.files if is_private(path)]
    if keys.agent or any(not wants_passphrase(path) for path in private):
        return NO_EVIDENCE
    if private:
        return Evidence.of(key="locked", agent="without_it")
    return Evidence.of(key="none", agent="empty")
