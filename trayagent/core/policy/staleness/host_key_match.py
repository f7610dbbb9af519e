"""Decides whether the machine that answered a new connection is the old connection's server; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.events import AttemptReady
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.problems import Problem
from trayagent.core.policy.admission import needs_known_network, strict
from trayagent.core.policy.hostname_edited import checks_every_key, readdressed, replaced_by_edit


def proves(host: Host, host_key: str | None) -> bool:
    """Report whether a login that proved this host key is a control for the host's master.

    The login is a control if its key is the one that was recorded with the master. Without a recorded key, ssh must
    have checked the login's key, or it must be the key of the host's last login. Otherwise any machine could have
    answered.
    """
    if host.master is None or host_key is None:
        return False
    if host.master.host_key is not None or readdressed(host):
        return host_key == host.master.host_key
    return strict(host) or host_key == host.login.host_key


def may_replace(host: Host, host_key: str | None) -> bool:
    """Report whether a login that succeeded with this host key may take the place of the host's master in doubt."""
    if host_key is None:
        return False
    return proves(host, host_key) or replaced_by_edit(host) or _replaced_by_move(host)


def _replaced_by_move(host: Host) -> bool:
    """Report whether a login with another key that ssh checked replaces a master whose local address is gone.

    In that case the server's keys were rotated, or the name leads to several machines. From here the old connection can
    carry nothing to any of them. Silence alone does not count, since the machine of the old connection may be busy.
    """
    return host.doubt.gone_at is not None and checks_every_key(host) and not _may_be_a_namesake(host)


def _may_be_a_namesake(host: Host) -> bool:
    """Report whether the host's address is private, and was never reached here. Another machine may have it here."""
    here = host.attempt.network if host.attempt is not None else None
    return needs_known_network(host) and not host.reached.at(here)


def proves_bare(host: Host, event: AttemptReady) -> bool:
    """Report whether a bare control's answer is a control for the host's master.

    If the local address of an unnamed master, or of one behind a jump host, is gone, the answer of any SSH server is
    enough, since the old connection can carry nothing from here. Otherwise the key must be the recorded one, or one in
    the user's known_hosts files. A hostile network could refuse a login just to make the next control a bare one.
    """
    if host.master is None:
        return False
    if host.master.direct and host.master.host_key is not None and event.host_key is not None:
        return event.host_key == host.master.host_key
    return _any_server_proves(host) or (event.host_key is not None and event.trusted)


def banner_suffices(host: Host) -> bool:
    """Report whether a bare control of the host's master may end at the server's banner, before the host key."""
    recorded = host.master is not None and host.master.direct and host.master.host_key is not None
    return _any_server_proves(host) and not recorded


def _any_server_proves(host: Host) -> bool:
    carried = host.master is not None and not host.master.direct
    return host.doubt.gone_at is not None and (host.unnamed or carried)


def is_another(host: Host, host_key: str | None) -> bool:
    """Report whether the proven key is certainly not the key that was recorded for the host."""
    if readdressed(host):
        return False  # the user chose another address, which may be another machine
    known = host.master.host_key if host.master is not None else None
    if known is None and not strict(host):  # with strict checking, ssh itself has checked the key
        known = host.login.host_key
    return host_key is not None and known is not None and host_key != known


def no_control(host: Host, host_key: str | None) -> Failure:
    """Return the failure of a login that worked, but that proves nothing about the judged master."""
    if is_another(host, host_key):
        known = checks_every_key(host) and not _may_be_a_namesake(host)
        return _another_known_key(host) if known else another_key(host)
    if readdressed(host):
        title = f"The address of {host.name} in ssh_config changed, and ssh did not check the host key there"
        hint = f"To connect there: trayagent reconnect {host.name}"
        return Failure(Problem("host-key-unknown", title, hint), "host-key-unknown")
    hint = f"To connect without a check: trayagent reconnect {host.name}. StrictHostKeyChecking yes makes ssh check"
    title = f"Another machine may answer here: the host key of {host.name} was not checked"
    return Failure(Problem("host-key-unknown", title, hint), "host-key-unknown")


def _another_known_key(host: Host) -> Failure:
    """Return the failure of a login with a key that known_hosts has, beside a silent connection with another key."""
    title = f"Another machine than that of {host.name}'s old connection may answer here: its host key is different"
    hint = f"known_hosts has this key. Connect with it: trayagent reconnect {host.name}"
    return Failure(Problem("host-key-unknown", title, hint), "host-key-unknown")


def another_key(host: Host) -> Failure:
    """Return the failure of a connection to a machine with another host key."""
    hint = f"Ask its administrator. Accept the new key: trayagent reconnect {host.name}"
    return Failure(
        Problem("host-key-changed", f"The host key of {host.name} has changed", hint), "host-key-changed"
    )


def judged_failure(host: Host, attempt: Attempt, failure: Failure, host_key: str | None) -> Failure:
    """Return the failure as it counts for this host. A refusal by another machine does not count for the server.

    If it is unknown whose key was proven, the refusal counts on this path only.
    """
    by_user = attempt.purpose == "user" or attempt.at_terminal
    if by_user:
        return failure
    if is_another(host, host_key):
        return another_key(host)
    known = host.master is None or readdressed(host) or proves(host, host_key)
    return failure if known else replace(failure, positive=False)
