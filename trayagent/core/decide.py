"""Takes an event and returns the actions to carry out: the entry point of the core; pure.

Theory of operation. The modules of `on` change *facts* according to the event. Then `advance` does every step that the
facts allow, for each host that the event can concern (`settled`). `admission` decides whether a connection may be
tried, and `judge_master` judges a living master by the table of docs/architecture.md. `advance` turns the results into
actions and records them in the facts.
Nothing here reads a clock or has side effects, so a history of events always gives the same decisions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from trayagent.core.decision_context import Context, Why
from trayagent.core.facts import events as e
from trayagent.core.facts import roaming_events as r
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Action
from trayagent.core.facts.state import State
from trayagent.core.on import attempt_failures as on_failures
from trayagent.core.on import attempt_progress as on_attempts
from trayagent.core.on import configuration as on_configuration
from trayagent.core.on import draining_progress as on_draining
from trayagent.core.on import forwards as on_forwards
from trayagent.core.on import kernel_reports as on_reports
from trayagent.core.on import master_events as on_masters
from trayagent.core.on import mptcp as on_mptcp
from trayagent.core.on import network_change as on_network
from trayagent.core.on import resolve_results as on_answers
from trayagent.core.on import restored_records as on_records
from trayagent.core.on import roaming_progress as on_roaming
from trayagent.core.on import standby_progress as on_standby
from trayagent.core.on import take_over_results as on_take_overs
from trayagent.core.on import user_requests as on_user
from trayagent.core.on import vpns as on_vpns
from trayagent.core.policy import key_trials as trials
from trayagent.core.policy.advance import advance
from trayagent.core.policy.logins.cut_logins import attempt_cut
from trayagent.core.policy.settled import is_settled, share, unsettle, unsettled


class Decision(Struct, frozen=True):
    """The new state, the actions in order, and the reasons."""

    state: State
    actions: tuple[Action, ...]
    whys: tuple[Why, ...]


_Handler = Callable[[Context, Any], None]

HANDLERS: dict[type[e.Event], _Handler] = {
    e.NetworkRead: on_network.network_read,
    e.Woke: on_network.woke,
    e.Configured: on_configuration.configured,
    e.Started: on_network.started,
    e.ManagerReported: on_vpns.manager_reported,
    e.SignInFailed: on_vpns.sign_in_failed,
    e.Remembered: on_records.remembered,
    e.HostResolved: on_answers.host_resolved,
    e.ResolveFailed: on_answers.resolve_failed,
    e.MasterFound: on_masters.master_found,
    e.MasterEnded: on_standby.of_spare(on_standby.master_ended, on_masters.master_ended),
    e.DrainingFound: on_draining.found,
    e.Carried: on_draining.carried,
    r.RoamingBegan: on_roaming.began,
    r.RoamingLoginBegun: on_roaming.login_begun,
    r.RoamingNotPossible: on_roaming.not_possible,
    r.RoamingFound: on_roaming.found,
    r.RoamingAttached: on_roaming.attached,
    r.RoamingAttachedByPort: on_roaming.attached_by_port,
    r.RoamingPortFailed: on_roaming.port_failed,
    r.RoamingAttachFailed: on_roaming.attach_failed,
    r.RoamingAway: on_roaming.away,
    r.RoamingStalled: on_roaming.stalled,
    r.RoamingEnded: on_roaming.ended,
    r.MasterMoved: on_roaming.moved,
    e.ProbeAnswered: on_standby.of_spare(on_standby.answered, on_masters.probe_answered),
    e.MasterUsed: on_masters.master_used,
    e.Observed: on_reports.observed,
    e.ForwardsChanged: on_forwards.forwards_changed,
    e.HandForwardsFound: on_forwards.hand_forwards_found,
    e.RemoteCleanedUp: on_forwards.remote_cleaned_up,
    e.AttemptEstablished: on_attempts.attempt_established,
    e.MptcpChecked: on_mptcp.checked,
    e.AttemptReady: on_standby.of_login(on_standby.ready, on_attempts.attempt_ready),
    e.AttemptFailed: on_standby.of_login(on_standby.failed, on_failures.attempt_failed),
    e.AttemptCut: attempt_cut,
    e.ObstacleGone: on_failures.obstacle_gone,
    e.TookOver: on_take_overs.took_over,
    e.TakeOverFailed: on_take_overs.take_over_failed,
    user_events.UserReconnect: on_user.reconnect,
    user_events.LoginBegun: on_user.login_begun,
    user_events.LoginGivenUp: on_failures.login_given_up,
    user_events.UserDisconnect: on_user.disconnect,
    user_events.UserStopMasters: on_user.stop_masters,
    user_events.UserPause: on_user.pause,
    user_events.UserResume: on_user.resume,
    user_events.UserViewedStatus: on_user.status_viewed,
    user_events.CredentialsChanged: on_user.credentials_changed,
    user_events.KeysChanged: trials.keys_changed,
    e.TrialEnded: trials.trial_ended,
    e.AgentSocketUpdated: on_masters.agent_socket_updated,
    e.TimerExpired: lambda _context, _event: None,
}

TOGETHER = (e.Observed, e.HostResolved, e.ResolveFailed, e.Remembered)
"""If several events of one of these types are queued one after another, one call of `decide` handles them."""


def decide(state: State, event: e.Event, *later: e.Event) -> Decision:
    """Return the decision on an event, or on several queued events of one type in TOGETHER.

    After a change of network the agent observes each master, and at its start it resolves each host. Raises KeyError
    for an event without a handler (a bug).
    """
    context = Context(state, later[-1].at if later else event.at)
    for each in (event, *later):
        HANDLERS[type(each)](context, each)
        unsettle(context, getattr(each, "name", ""))
    on_vpns.advance_vpns(context)
    if context.state.started:
        _advance_hosts(context)
    return Decision(context.state, tuple(context.actions), tuple(context.whys))


_ROUNDS = 8  # each step of a host may let another host take one, but no chain of hosts is that long


def _advance_hosts(context: Context) -> None:
    """Advance each host that the event concerns, until none can take a step.

    If several hosts wait for one server, those that their user uses come first.
    """
    share(context)
    for _ in range(_ROUNDS):
        due = unsettled(context)
        if not due:
            return
        for name in sorted(due, key=lambda name: -context.hosts[name].used_at):
            if not is_settled(
                context, name
            ):  # a step of another host may have taken the place for which it waits
                advance(context, name)
