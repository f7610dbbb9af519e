"""Writes the problems that users see: what is wrong with a host or a VPN, and what to do next; pure."""

from __future__ import annotations

import errno

from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.problems import Code, Problem
from trayagent.core.facts.time_constants import LOGINS_PER_WINDOW, REFUSED_MAX, REFUSED_WINDOW_S
from trayagent.core.policy.admission import Admission
from trayagent.core.policy.logins.login_waits import Wait
from trayagent.dotted_key import dotted

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The error numbers of a full file system and of a used-up quota."""


def admission_problem(host: Host, admitted: Admission) -> Problem:
    """Return the problem of a host that may not be connected now, according to the admission check."""
    match admitted.code:
        case "vpn-down":
            vpn = host.wish.vpn or host.reached.learned_vpn
            title = f"VPN {vpn} asks you to sign in" if admitted.needs_sign_in else f"VPN {vpn} is down"
            return Problem("vpn-down", title, f"{host.name} connects when {vpn} is up")
        case "network-not-allowed":
            table = dotted("hosts", host.name)
            hint = f"See networks in [{table}]. To connect anyway: trayagent reconnect {host.name}"
            return Problem("network-not-allowed", f"{host.name} may not be connected on this network", hint)
        case "not-here":
            hint = f"To connect anyway: trayagent reconnect {host.name}. Safe only with StrictHostKeyChecking yes"
            if admitted.unidentified:
                return Problem("not-here", "This network's gateway is not known yet", hint)
            return Problem("not-here", f"{host.name} was never reached from this network", hint)
        case "captive-portal":
            return Problem(
                "captive-portal", "This network wants you to sign in first", "Open a web page to sign in"
            )
        case _:
            title = f"There is no route to {host.name}"
            return Problem("unreachable", title, "The agent connects as soon as there is one")


def wait_problem(host: Host, wait: Wait) -> Problem:
    """Return the problem of a login that is due but must wait, although the host may be connected here."""
    follows = "It connects automatically afterwards"
    match wait.why:
        case "jump":
            return Problem("jump-host-failed", f"{host.name} waits for its jump host {wait.jump}", follows)
        case "control":
            title = f"The agent cannot check from this network whether the connection of {host.name} works"
            return Problem("not-here", title, "The agent checks again on the next network")
        case "stopped":
            title = f"The ssh of {host.name} is suspended or blocked"
            hint = (
                f"Continue it (fg, or Ctrl-Q in its terminal). To replace it: trayagent reconnect {host.name}"
            )
            return Problem("suspended", title, hint)
        case "account":
            title = f"{host.name} waits: another login to its account is in progress"
            return Problem("rate-limited", title, follows)
        case "refused":
            minutes = f"{REFUSED_WINDOW_S / 60:.0f} minutes"
            title = f"{host.name} waits: its account refused {REFUSED_MAX} logins in {minutes}"
            if wait.other:
                title = f"{host.name} waits: it may be the server of {wait.other}, which refused {REFUSED_MAX} logins"
            hint = f"The agent tries again later, so that no account gets locked. Now: trayagent reconnect {host.name}"
            return Problem("rate-limited", title, hint)
        case "unsettled":
            title = f"{host.name} waits until the network is stable: its last login got no answer"
            return Problem("rate-limited", title, follows)
        case "cut short":
            title = f"The last connection to {host.name} ended right after the login"
            return Problem("rate-limited", title, f"See what ends its connections: trayagent why {host.name}")
        case "logins":
            title = f"There were {LOGINS_PER_WINDOW} logins to {host.name} in a few minutes"
            return Problem("rate-limited", title, f"See what ends its connections: trayagent why {host.name}")
        case _:
            return Problem(
                "rate-limited", f"{host.name} waits: the limit of logins to its server is reached", follows
            )


def large_packets_lost(name: str, interface: str | None) -> Problem:
    """Return the problem of a network that passes small packets to a host and drops large ones."""
    hint = f"Lower its MTU: sudo ip link set dev {interface or 'INTERFACE'} mtu 1280"
    return Problem("large-packets-lost", f"This network swallows large packets to {name}", hint)


def unwritable(folder: str, error: OSError, *, positive: bool = False) -> Failure:
    """Return the failure of a login for which the agent or ssh could not write a file in this directory.

    `positive` as in `Failure`.
    """
    if error.errno in NO_ROOM:
        title = f"The disk with {folder} is full"
        if error.errno == errno.EDQUOT:
            title = f"Your quota on the disk with {folder} is used up"
        problem = Problem("disk-full", title, f"Make room; the agent tries again. See: df -h {folder}")
    else:
        title = f"The agent cannot write to {folder}: {error.strerror or error}"
        problem = Problem("unknown", title, f"The agent tries again. See: ls -ld {folder}")
    return Failure(problem, "unwritable", positive)


def other_machine(name: str) -> Problem:
    """Return the problem of sessions that wait, because the host's name leads to a machine without their far relay."""
    title = f"The name of {name} leads to another machine than the one with its sessions"
    return Problem(
        "other-machine", title, f"They wait. To connect without them: trayagent reconnect --now {name}"
    )


def relay_unreachable(name: str, trouble: str | None) -> Problem:
    """Return the problem of sessions that wait, because one of their relays cannot be reached.

    `trouble` is the code of the last failed attach.
    """
    match trouble:
        case "no-python":
            title = f"python3 does not start on the server, so the sessions of {name} cannot continue"
            hint = f"Install it there again. To connect without them: trayagent reconnect --now {name}"
            return Problem("no-python", title, hint)
        case "near-relay-silent":
            title = f"The sessions of {name} wait: their near relay on this machine does not answer"
            hint = f"It may be stopped: pgrep -f near_relay. To connect without them: trayagent reconnect --now {name}"
        case "unsafe-folder":
            title = (
                f"The sessions of {name} wait: other users can open the far relay's directory on the server"
            )
            hint = "On the server: chmod 700 ~/.cache/trayagent/* $XDG_RUNTIME_DIR/trayagent"
        case "far-relay-unseen":
            title = f"The sessions of {name} wait: a login does not show whether their far relay still runs"
            hint = (
                f"It may run outside a container. To connect without them: trayagent reconnect --now {name}"
            )
        case "far-relay-unreachable":
            title = f"The sessions of {name} wait: the socket of their far relay was deleted or moved on the server"
            hint = f"Move it back. To connect without them: trayagent reconnect --now {name}"
        case _:
            title = f"The sessions of {name} wait: the server runs no command for them on the new connection"
            hint = "Check ForceCommand, MaxSessions and the login shell of the account on the server"
    return Problem("relay-unreachable", title, hint)


def held_back(host: Host, alike: Host, code: Code) -> Problem:
    """Return the problem of a host whose login was already refused for another host."""
    title = f"{host.name} is held back: the same login was refused for {alike.name}"
    return Problem(code, title, f"Fix the login of {alike.name}; {host.name} then connects automatically")


def not_here(host: Host) -> Problem:
    """Return the problem of another machine at the host's address, on a network where the host was not reached."""
    hint = "The agent tries again on the next network"
    return Problem("not-here", f"Another machine answers at {host.name}'s address here", hint)


def user_needed(host: Host) -> Problem:
    """Return the problem of a host that needs the user at every login."""
    return Problem(
        "auth-denied", f"{host.name} needs you at every login", f"Log in: trayagent login {host.name}"
    )


def proxy_failed(host: Host, why: Problem) -> Problem:
    """Return the problem of a ProxyCommand that failed, with no automatic retry on this network."""
    hint = f"The agent tries again on another network. To try now: trayagent reconnect {host.name}"
    return Problem(why.code, why.title, hint)


def refused_next_time(host: Host, why: Problem) -> Problem:
    """Return the problem of a living connection whose next login would be refused."""
    if why == user_needed(host):
        return why
    if why.code == "passphrase-needed":
        return Problem(why.code, f"The next login of {host.name} needs you: {why.title}", why.hint)
    plain = why.title == f"{host.name} refused the login"
    title = f"{host.name} refuses new logins: {'no key is accepted' if plain else why.title}"
    hint = f"Fix it while the old connection lives, then: trayagent reconnect {host.name}"
    return Problem(why.code, title, hint)


def vpn_problem(name: str, sign_in_failure: str = "", *, needs_secret: bool = False) -> Problem:
    """Return the problem of a VPN that only the user can bring up again.

    `sign_in_failure` explains why the last sign-in failed. `needs_secret`: the network manager waits for a secret now.
    """
    hint = "Sign in to it. Its hosts then connect automatically"
    if needs_secret:
        hint = "Enter the password or code in the open window, or sign in again"
    return Problem("vpn-needs-sign-in", f"VPN {name} asks you to sign in", sign_in_failure or hint)
