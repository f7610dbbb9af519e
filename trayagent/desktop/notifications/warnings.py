"""The registry of what may be worth a message: one row per problem; pure."""

from __future__ import annotations

from dataclasses import dataclass

from trayagent.desktop.notifications.message import Urgency

SNOOZE_S = 3600.0

# A flapping line is told once; who saw the message knows.
_QUIET_S = 600.0

ACTIONS: dict[str, str] = {
    "sign-in": "Sign in",
    "terminal": "Open terminal",
    "why": "Show why",
    "edit": "Edit",
    "snooze": "Snooze",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A problem that may be told.

    `title` may use {names} and {vpn}; `text` {names}, {vpn} and {problem} (the hosts' own
    words). It is told when it has lasted `visible_after_s`, counted awake. While a code of `depends_on`
    holds for the same host, that is the cause, and this is not a problem of its own. `per_subject`: each
    has its own message; else all hosts with this problem share one. Once told and ended, it is
    not told again about the same host for `quiet_s`.
    """

    code: str
    title: str
    text: str
    urgency: Urgency = "normal"
    actions: tuple[str, ...] = ("terminal", "why", "snooze")
    depends_on: tuple[str, ...] = ("offline", "captive-portal", "vpn-needs-sign-in")
    visible_after_s: float = 3.0
    per_subject: bool = False
    stays: bool = True
    quiet_s: float = 0.0
    icon: str = "dialog-password"


def _failed(code: str, title: str, text: str = "{problem}") -> Row:
    """Return a row for what only a change of configuration helps."""
    return Row(code, title, text, actions=("why", "snooze"), icon="dialog-warning")


_ROWS = (
    # Never told: the person knows, and the icon says it. Everything else waits for it.
    Row("offline", "Offline", "", visible_after_s=float("inf"), depends_on=()),
    Row(
        "configuration-rejected",
        "The configuration has a mistake",
        "{problem}\nThe one before it stays in force.",
        actions=("edit", "snooze"),
        depends_on=(),  # whoever has just edited it is there, network or not
        visible_after_s=1.0,  # some editors write in two steps
        icon="dialog-warning",
    ),
    Row(
        "captive-portal",
        "This network wants you to sign in",
        "Open a web page to do so. ssh then connects.",
        actions=("snooze",),
        depends_on=("offline",),
    ),
    Row(
        "vpn-needs-sign-in",
        "Sign in to VPN {vpn}",
        "{names}: connected as soon as it is up.\n{problem}",
        actions=("sign-in", "snooze"),
        depends_on=("offline", "captive-portal"),
        per_subject=True,
        visible_after_s=5.0,  # the VPN's own `grace` is over before it is called so; this is for flapping
    ),
    Row("passphrase-needed", "{names}: a key is locked", "{problem}"),
    Row("auth-denied", "{names}: sign-in needed", "{problem}"),
    Row("refused-next-time", "{names}: the next login will be refused", "{problem}"),
    Row("host-key-unknown", "{names}: unknown host key", "{problem}", per_subject=True),
    Row(
        "host-key-changed",
        "{names}: the host key changed",
        "{problem}",
        "critical",  # somebody may be listening in
        per_subject=True,
        icon="dialog-warning",
    ),
    _failed("too-many-auth-failures", "{names}: too many keys were tried"),
    _failed("no-common-algorithm", "{names}: no common algorithm"),
    _failed("config-error", "ssh does not accept its configuration", "{names}. {problem}"),
    _failed("ssh-missing", "ssh is missing"),
    _failed("control-path-too-long", "{names}: ControlPath too long"),
    _failed("control-path-taken", "{names}: ControlPath taken"),
    Row(
        "forward-failed",
        "{names}: a forward is not open",
        "{problem}",
        actions=("why", "snooze"),
        visible_after_s=20.0,  # the far side frees a port when it has seen the old session's end
        stays=False,
        quiet_s=_QUIET_S,
        icon="network-offline",
    ),
    Row(
        "lost",
        "{names}: connection lost",
        "{problem}",
        actions=("why", "snooze"),
        visible_after_s=30.0,  # longer than a person takes to look up; a reconnect takes half a second
        stays=False,
        quiet_s=_QUIET_S,
        icon="network-offline",
    ),
)
WARNINGS: dict[str, Row] = {row.code: row for row in _ROWS}
