"""Makes the next login wait after a connection that ended right after its login; pure.

Such a server may be full, or a limit of the account may end each session. No login failed, so no back-off applies.
Without a pause, the agent would log in again and again. The pause doubles with each such connection in a row. It counts
only on the network of that connection, because another network may have ended it.
"""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.facts.attempt import CutShort
from trayagent.core.facts.hosts import Host, LoginHistory
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Origin
from trayagent.core.facts.time_constants import NEVER, RETRY_FIRST_S, RETRY_MAX_S, SHORT_LIFE_S
from trayagent.core.policy.logins.doubling_pause import doubling


def after_end(host: Host, master: Master, now: float) -> LoginHistory:
    """Return the login history after this master of the host ended, which neither the user nor the agent caused."""
    login = host.login
    if host.attempt is not None:  # it may have logged in already, so the last login is not this master's
        return login
    if not master.started_by_agent or now - login.worked_at >= SHORT_LIFE_S:
        return login if login.cut_short is None else replace(login, cut_short=None)
    count = 1 + (login.cut_short.count if login.cut_short is not None else 0)
    return replace(login, cut_short=CutShort(count, now, Origin(host.network, master.local)))


def next_login_at(last: CutShort, origin: Origin) -> float:
    """Return when the pause is over for a login from this network, NEVER if it does not apply there."""
    if not last.origin.same(origin):
        return NEVER
    return last.at + doubling(RETRY_FIRST_S, last.count, RETRY_MAX_S)
