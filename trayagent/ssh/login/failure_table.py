"""The table of ssh's error messages and their meanings, for OpenSSH 9.2 to 10.5.

The messages are English in every locale.

The first row that matches decides, so the order matters. Certain and final messages come before messages that may
accompany them.

A server or a jump host may have written the text, so no text may make a pattern slow. A pattern matches within one
line, and `classify_failure` bounds the length of lines. No two unbounded repetitions in a pattern match the same text.
`then` is a condition on later lines.
"""

from __future__ import annotations

import re

from msgspec import Struct

from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.problems import Code


class Row(Struct, frozen=True):
    """A pattern for ssh's message, and the failure that the message means.

    `title` may use {who} (the host, or its jump host) and the pattern's groups. `hint` may use {host} and the groups.
    `then` is a text that must follow the match, on any line. `positive`: ssh prints this message only after it has
    accepted the server's host key.
    """

    pattern: re.Pattern[str]
    kind: FailureKind
    code: Code
    title: str
    hint: str = ""
    then: str = ""
    positive: bool = False

    def match(self, text: str) -> re.Match[str] | None:
        """Return the match in a bounded text, or None."""
        found = self.pattern.search(text)
        return found if found is not None and text.find(self.then, found.end()) >= 0 else None


def _row(
    pattern: str,
    kind: FailureKind,
    code: Code,
    title: str,
    hint: str = "",
    *,
    then: str = "",
    positive: bool = False,
) -> Row:
    return Row(re.compile(pattern, re.MULTILINE), kind, code, title, hint, then, positive)


_DENIED = "Permission denied ("
_BY_JUMP_HOST = r"^channel \d+: open failed: connect failed: "
_JUMP_FAILED = "stdio forwarding failed"
_CONNECT = r"^ssh: connect to host \S+ port (?P<port>\d+): "
_AGAIN = "then: trayagent reconnect {host}"

TABLE: tuple[Row, ...] = (
    # Failures before ssh sends a packet.
    _row(
        r"^(?P<line>.*(?:Bad configuration option|Can't open user config file|Bad owner or permissions on"
        r"|command-line:? line \d+: |: line \d+: Bad |terminating, \d+ bad|: unknown key %).*)$",
        "config", "config-error", "{line}", "Check it: ssh -G {host}",
    ),
    # Failures after the login.
    _row(
        r"^unix_listener: path .* too long",
        "control-path", "control-path-too-long", "The ControlPath of {who} is too long for a socket",
        "Give it a shorter one in ssh_config, such as ~/.ssh/cm-%C", positive=True,
    ),
    _row(
        r"^ControlSocket (?P<path>.+) already exists",
        "control-path", "control-path-taken", "The ControlPath of {who} is taken: {path}",
        "Another ssh master listens there; end it with: ssh -O exit {host}", positive=True,
    ),
    _row(
        r"^unix_listener: cannot bind to path (?P<folder>.+)/[^/\n]+: (?:No space left on device|Disk quota exceeded)",
        "unwritable", "disk-full", "The disk with {folder} is full",
        "Make room; the agent tries again. See: df -h {folder}", positive=True,
    ),
    _row(
        r"^unix_listener: cannot bind to path (?P<why>.+)",
        "control-path", "config-error", "The control socket of {who} cannot be made: {why}",
        "Check that its directory exists and belongs to you", positive=True,
    ),
    # pam_nologin prints these messages; see its manual page.
    _row(
        r"System is (?:booting up|going down)|not permitted to log in (?:yet|anymore)",
        "booting", "refused", "{who} is starting up or shutting down", positive=True,
    ),
    # Failures of the login.
    _row(
        r"Too many authentication failures",
        "too-many-keys", "too-many-auth-failures", "{who} disconnected after too many keys",
        "Set IdentityFile and IdentitiesOnly yes for {host} in ssh_config", positive=True,
    ),
    _row(
        r"^sign_and_send_pubkey: signing failed .*agent refused operation",
        "auth", "auth-denied", "The ssh-agent did not sign the login to {who}",
        "Confirm or unlock the key, " + _AGAIN, then=_DENIED, positive=True,
    ),
    _row(
        r"^sign_and_send_pubkey: signing failed .*device not found",
        "auth", "auth-denied", "The hardware key for {who} was not found",
        "Plug it in, " + _AGAIN, then=_DENIED, positive=True,
    ),
    _row(
        r"^no such identity: (?P<absent>.+): |^Load key \"(?P<file>.+)\": (?:bad permissions"
        r"|error in libcrypto|invalid format)",
        "key-file", "auth-denied", "{who} refused the login, and the key {absent}{file} cannot be used",
        "Check that it is a private key that only you can read", then=_DENIED, positive=True,
    ),
    _row(
        r"Permission denied \((?:[^,()\n]+,)*(?:password|keyboard-interactive)\b[^()\n]*\)",
        "auth", "auth-denied", "{who} refused the login; it accepts a password or a code",
        "Log in: trayagent login {host}", positive=True,
    ),
    _row(
        r"Permission denied \([^()\n]*\)",
        "auth", "auth-denied", "{who} refused the login", "Check the key and the ssh-agent: ssh {host}", positive=True,
    ),
    # Failures of the key exchange.
    _row(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "host-key-changed", "host-key-changed", "The host key of {who} has changed",
        "Ask its administrator; ssh {host} shows the new key, and where the old one is listed",
    ),
    # ssh checks these dates only after the certificate's authority, and then prints the messages of the next row, too.
    _row(
        r"^Certificate invalid: expired",
        "host-certificate", "host-certificate", "The host certificate of {who} has expired",
        "The server's administrator must renew it; the agent tries again",
    ),
    _row(
        r"^Certificate invalid: not yet valid",
        "host-certificate", "host-certificate", "The host certificate of {who} is not valid yet",
        "Check the clock of this machine (date), or ask the server's administrator; the agent tries again",
    ),
    _row(
        r"^No \S+ host key is known for |^Host key verification failed\.",
        "host-key-unknown", "host-key-unknown", "The host key of {who} is not known",
        "Compare it and accept it once: trayagent login {host}",
    ),
    _row(
        r"^Unable to negotiate with (?>.*?no matching )(?P<what>.+?) found",
        "negotiation", "no-common-algorithm", "{who} and ssh have no {what} in common",
        "Update the older side, or allow its algorithm in ssh_config; ssh {host} shows it",
    ),
    # Failures behind a jump host that works. If a forward of the master itself fails, ssh prints only the first part of
    # these messages, hence `then`.
    _row(
        _BY_JUMP_HOST + r".*(?:not known|name resolution|resolve|No address)",
        "dns", "name-not-found", "The jump host does not know the name of {who}", then=_JUMP_FAILED,
    ),
    _row(
        _BY_JUMP_HOST + r"Connection refused",
        "refused", "refused", "{who} refused the connection of its jump host",
        "Does sshd run on that port?", then=_JUMP_FAILED,
    ),
    _row(
        _BY_JUMP_HOST + r".*timed out",
        "timed-out", "timed-out", "{who} did not answer its jump host", then=_JUMP_FAILED,
    ),
    _row(_BY_JUMP_HOST, "unreachable", "unreachable", "The jump host cannot reach {who}", then=_JUMP_FAILED),
    _row(
        r"^channel \d+: open failed: administratively prohibited",
        "jump", "jump-host-failed", "The jump host forbids connections to {who}",
        "Its sshd needs AllowTcpForwarding, and a PermitOpen that names the target", then=_JUMP_FAILED,
    ),
    # Failures on the route to the server.
    _row(
        r"Could not resolve hostname (?P<name>\S+): ",
        "dns", "name-not-found", "The name {name} was not found", "It may be known only on its own network or VPN",
    ),
    _row(
        _CONNECT + "Connection refused",
        "refused", "refused", "{who} refused the connection", "Does sshd run there, on port {port}?",
    ),
    _row(
        _CONNECT + r".*timed out|timed out during banner exchange|^Connection to .* timed out",
        "timed-out", "timed-out", "{who} did not answer in time",
    ),
    # This row also matches the errors of blackhole and prohibit routes: "Invalid argument" and "Permission denied".
    _row(_CONNECT, "unreachable", "unreachable", "{who} cannot be reached from here"),
    # The end of a connection that worked. It shows nothing about the present path, so these rows are not positive.
    _row(r"^Timeout, server .* not responding", "died", "timed-out", "{who} stopped answering"),
    _row(
        r"^Connection to .* closed by remote host|^client_loop: send disconnect|^Read from remote host ",
        "died", "unknown", "The connection to {who} was interrupted",
    ),
    _row(
        r"^(?P<line>.*(?:remote port forwarding failed for listen|^bind \[.*\]:\d+: "
        r"|Could not request local forwarding).*)$",
        "forward", "forward-failed", "A forward of {who} failed: {line}", positive=True,
    ),
    # For ssh these all look the same: MaxStartups, a penalty, a restart of sshd, a machine without an ssh server.
    _row(
        r"Not allowed at this time|Exceeded MaxStartups|Connection (?:closed|reset) by \S+ port \d+"
        r"|^kex_exchange_identification: |^banner exchange: Connection to ",
        "dropped", "refused", "{who} closed the connection before the login", "It may be busy or restarting",
    ),
)  # fmt: skip
