"""The problems that may be worth a message: one row for each; pure."""

from __future__ import annotations

from msgspec import Struct

from trayagent.desktop.notifications.message_type import Urgency
from trayagent.presentation.translation import to_translate

SNOOZE_S = 3600.0

# Report a connection that goes down and up repeatedly only once: the user has seen the first message.
_QUIET_S = 600.0

ACTIONS: dict[str, str] = {
    "sign-in": to_translate("Sign in"),
    "login": to_translate("Log in"),
    "why": to_translate("Show why"),
    "edit": to_translate("Edit"),
    "snooze": to_translate("Snooze"),
}


BY_HAND: dict[str, str] = {
    "sign-in": to_translate("To do so, choose “Sign in to {vpn}…” in the menu of the tray icon."),
    "login": to_translate("To log in, type: trayagent login {host}"),
    "why": to_translate("To see why, type: trayagent why {host}"),
    "edit": to_translate("To edit it, choose “Edit configuration” in the menu of the tray icon."),
}
"""What to do instead of pressing the first button, where the notification server shows no buttons."""


class Row(Struct, frozen=True):
    """A problem that may be reported.

    `title` may contain {names} and {vpn}; `text` may contain {names}, {vpn} and {problem}, the hosts' own texts. The
    message appears when the problem has lasted `visible_after_s` of awake time. `depends_on` has the codes of possible
    causes: while the same host has one of them, this problem gets no message. `per_subject`: each subject has its own
    message; otherwise all hosts with this problem share one. After a problem was shown and ended, it is not shown again
    for the same host for `quiet_s` seconds.
    """

    code: str
    title: str
    text: str
    urgency: Urgency = "normal"
    actions: tuple[str, ...] = ("login", "why", "snooze")
    depends_on: tuple[str, ...] = ("offline", "captive-portal", "vpn-needs-sign-in")
    visible_after_s: float = 3.0
    per_subject: bool = False
    stays: bool = True
    quiet_s: float = 0.0
    icon: str = "dialog-password"


def _failed(code: str, title: str, text: str = "{problem}") -> Row:
    """Return a row for a problem that only a change of the configuration fixes."""
    return Row(code, title, text, actions=("why", "snooze"), icon="dialog-warning")


_ROWS = (
    # No message reports that the machine is offline: the user knows, and the icon shows it. All other messages wait
    # until the machine is online.
    Row("offline", to_translate("Offline"), "", visible_after_s=float("inf"), depends_on=()),
    Row(
        "configuration-rejected",
        to_translate("The configuration has a mistake"),
        to_translate("{problem}\nThe previous one stays in force."),
        actions=("edit", "snooze"),
        depends_on=(),  # the user has just edited the file, so show it even without a network
        visible_after_s=1.0,  # some editors write in two steps
        icon="dialog-warning",
    ),
    Row(
        "captive-portal",
        to_translate("This network wants you to sign in"),
        to_translate("Open a web page to do so. ssh then connects."),
        actions=("snooze",),
        depends_on=("offline",),
    ),
    Row(
        "vpn-needs-sign-in",
        to_translate("Sign in to VPN {vpn}"),
        to_translate("{names}: connected as soon as it is up.\n{problem}"),
        actions=("sign-in", "snooze"),
        depends_on=("offline", "captive-portal"),
        per_subject=True,
        visible_after_s=5.0,  # in addition to the VPN's `grace`, in case the VPN goes down and up repeatedly
    ),
    Row("passphrase-needed", to_translate("{names}: a key is locked"), "{problem}"),
    Row("auth-denied", to_translate("{names}: sign-in needed"), "{problem}"),
    Row("refused-next-time", to_translate("{names}: the next login will be refused"), "{problem}"),
    Row("host-key-unknown", to_translate("{names}: unknown host key"), "{problem}", per_subject=True),
    Row(
        "host-key-changed",
        to_translate("{names}: the host key changed"),
        "{problem}",
        "critical",  # a third party may be listening in
        actions=("why", "snooze"),  # no login: first the user has to find out why the key changed
        per_subject=True,
        icon="dialog-warning",
    ),
    _failed("too-many-auth-failures", to_translate("{names}: too many keys were tried")),
    _failed("no-common-algorithm", to_translate("{names}: no common algorithm")),
    _failed(
        "config-error",
        to_translate("ssh does not accept its configuration"),
        to_translate("{names}. {problem}"),
    ),
    _failed("ssh-missing", to_translate("ssh is missing")),
    _failed("disk-full", to_translate("The disk is full"), to_translate("{names}. {problem}")),
    _failed("control-path-too-long", to_translate("{names}: ControlPath too long")),
    _failed("control-path-taken", to_translate("{names}: ControlPath taken")),
    Row(
        "forward-failed",
        to_translate("{names}: a forward is not open"),
        "{problem}",
        actions=("why", "snooze"),
        visible_after_s=20.0,  # the server frees a port only when it notices the old session's end
        stays=False,
        quiet_s=_QUIET_S,
        icon="network-offline",
    ),
    Row(
        "lost",
        to_translate("{names}: connection lost"),
        "{problem}",
        actions=("why", "snooze"),
        visible_after_s=30.0,  # a reconnect takes half a second, so most losses need no message
        stays=False,
        quiet_s=_QUIET_S,
        icon="network-offline",
    ),
)
WARNINGS: dict[str, Row] = {row.code: row for row in _ROWS}
