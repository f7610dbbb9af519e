"""Decides when a host begins to roam, and when a new outer master carries its link; pure. See docs/roaming.md."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import AttachRoaming, BeginRoaming, RestorePath
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Network
from trayagent.core.facts.roaming import Roaming
from trayagent.core.policy.admission import Admission
from trayagent.core.policy.logins.account_lockout import inner_login_free_at
from trayagent.core.policy.logins.login_needs_user import login_needs_user
from trayagent.core.policy.logins.login_waits import turn_of
from trayagent.core.policy.shared_connection import owner_of_connection


def keep_link(context: Context, host: Host, master: Master, admitted: Admission) -> float | None:
    """Do what roaming needs next on a host whose outer master is beyond doubt. Return when to continue."""
    if host.draining is not None or host.attempt is not None:
        return None
    if host.roaming is not None or _left_there(host, master):
        return make_usable(context, host, master)
    return _begin(context, host, master, admitted)


def why_not_roaming(host: Host, hosts: Mapping[str, Host]) -> str | None:
    """Return why a host with `roam = true` does not roam, None if it roams, is not connected or is about to roam."""
    if not is_to_roam(host) or host.roaming is not None or host.master is None:
        return None
    owner = owner_of_connection(host, hosts)
    if owner is not None:
        return f"It uses the connection of {owner.name}"
    if host.roaming_start.failure is not None:
        return host.roaming_start.failure
    if not host.master.started_by_agent:
        return "You started its connection"
    if not login_needs_user(host):
        return None
    if host.wish.roam_port is None:
        return "Its login needs you"
    if not _reaches_port(host):
        return "Its login needs you, and roam_port needs a direct connection"
    return f"It begins to roam when you log in: trayagent login {host.name}"


def is_to_roam(host: Host) -> bool:
    """Report whether a host should roam. If its login needs the user, `roam_port` is enough, and is needed."""
    wanted = host.wish.roam or (host.wish.roam_port is not None and login_needs_user(host))
    return wanted and host.wish.listed


def begin_at_login(context: Context, host: Host) -> bool:
    """Begin to roam at the terminal where the user just logged in. Report whether that is possible.

    The inner login may need the user, too. After that, the far relay's port carries the sessions from each network.
    Without a port, each change of network would need a login, so the host would not be worth a second one.
    """
    start, master = host.roaming_start, host.master
    if master is None or host.roaming is not None or host.draining is not None or host.attempt is not None:
        return False
    if not is_to_roam(host) or not login_needs_user(host) or not _reaches_port(host):
        return False
    if not master.started_by_agent or host.user.held or host.suspect or start.through is not None:
        return False
    context.put(host, roaming_start=replace(start, through=master.pid, reason=None, failure=None))
    context.because(host.name, 0, "roaming-begins", Evidence.of(outer=master.pid, at="terminal"))
    return True


def _reaches_port(host: Host) -> bool:
    """Report whether the host has a port on its server to which the laptop may connect directly."""
    direct = host.master is not None and host.master.direct
    return (
        host.wish.roam_port is not None
        and direct
        and host.resolved is not None
        and host.resolved.plain_connect
    )


def make_usable(context: Context, host: Host, master: Master) -> float | None:
    """Make the user's control path work through this master: attach, or move the master there. This needs no login.

    Return when to continue.
    """
    if host.roaming is not None:
        return _attach(context, host, host.roaming, master)
    if _left_there(host, master):
        _restore(context, host, master)
    return None


def _left_there(host: Host, master: Master) -> bool:
    return host.outer_path is not None and master.control_path == host.outer_path


def address_to_seek(host: Host, admitted: Admission) -> str | None:
    """Return the address of the far relay's machine if the host's name led to another machine. Otherwise return None.

    The agent connects there once from each network. If that fails, the sessions wait for the next change of network.
    """
    roaming, master, resolved = host.roaming, host.master, host.resolved
    if roaming is None or master is None or resolved is None or roaming.elsewhere != master.pid:
        return None
    if (
        roaming.ending
        or host.user.held
        or login_needs_user(host)
        or seeks_from(admitted) in roaming.sought_from
    ):
        return None
    # Behind a jump host, the jump host's name may have several addresses, but they lead to the same server.
    may_choose = resolved.plain_connect and master.direct
    return roaming.address if may_choose and roaming.address != master.peer else None


def seeks_from(admitted: Admission) -> Network | None:
    """Return the network from which the agent would connect now."""
    return admitted.route.network if admitted.route is not None else None


def attach_early(context: Context, host: Host, new: Master) -> Host:
    """Begin to attach through a new outer master while it takes over the control path, and return the host.

    So the sessions continue about 50 ms sooner. If the socket is renamed first, the attach fails and is repeated.
    """
    roaming = host.roaming
    if roaming is None or roaming.ending or new.pid in {roaming.carrier, roaming.attaching}:
        return host
    context.do(AttachRoaming(host.name, new))
    context.because(host.name, 0, "attach", Evidence.of(outer=new.pid))
    return context.put(host, roaming=replace(roaming, attaching=new.pid))


def _attach(context: Context, host: Host, roaming: Roaming, master: Master) -> float | None:
    if roaming.ending or master.pid in {roaming.attaching, roaming.carrier}:
        return None
    if context.now < roaming.retry_at:
        return roaming.retry_at
    context.do(AttachRoaming(host.name, master))
    context.put(host, roaming=replace(roaming, attaching=master.pid))
    context.because(host.name, 0, "attach", Evidence.of(outer=master.pid))
    return None


def _restore(context: Context, host: Host, master: Master) -> None:
    if host.roaming_start.restoring != master.pid:
        context.do(RestorePath(host.name, master))
        context.put(host, roaming_start=replace(host.roaming_start, restoring=master.pid))


def _begin(context: Context, host: Host, master: Master, admitted: Admission) -> float | None:
    """Begin to roam if the host may. The inner login must respect all limits of a login, and its own limit."""
    start, now = host.roaming_start, context.now
    may_roam = host.wish.roam and host.wish.listed and master.started_by_agent and not host.user.held
    if not may_roam or start.reason is not None or start.through is not None or login_needs_user(host):
        return None
    if not admitted.open or host.resolved is None:
        return None
    if now < start.retry_at:
        return start.retry_at
    wait = turn_of(host, context.state, admitted, now)
    if wait is not None:
        return wait.at
    free_at = inner_login_free_at(host, context.state.accountable, now)
    if free_at is None or free_at > now:
        return free_at
    context.do(BeginRoaming(host.name, master))
    context.put(host, roaming_start=replace(start, through=master.pid))
    context.because(host.name, 0, "roaming-begins", Evidence.of(outer=master.pid))
    return None
