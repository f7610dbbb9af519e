"""Passwords and one-time codes for the laboratory's ssh servers, with the real PAM. Requires root.

The server has its own /etc/pam.d and /etc/shadow, so the machine's accounts are not involved. Source: pam.conf(5),
pam_unix(8), pam_exec(8), sshd_config(5).
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from trayagent.errors import TrayagentError
from trayagent.sandbox.lab_files import Files
from trayagent.sandbox.lab_tools import tool

# sshd_config lines. With PAM, "keyboard-interactive" makes the prompt.
PASSWORD = ("UsePAM yes", "PermitRootLogin yes", "PubkeyAuthentication no", "PasswordAuthentication yes")
INTERACTIVE = (
    "UsePAM yes",
    "PermitRootLogin yes",
    "PubkeyAuthentication no",
    "KbdInteractiveAuthentication yes",
)
KEY = ("UsePAM yes", "PermitRootLogin yes")
KEY_AND_CODE = (
    "UsePAM yes",
    "PermitRootLogin yes",
    "KbdInteractiveAuthentication yes",
    "AuthenticationMethods publickey,keyboard-interactive",
)

_UNIX = """auth     required pam_unix.so nodelay
account  required pam_permit.so
session  required pam_permit.so
"""
_CODES = """auth     required pam_exec.so quiet expose_authtok {check}
auth     required pam_permit.so
account  required pam_permit.so
session  required pam_permit.so
"""
_ACCOUNT = """auth     required pam_permit.so
account  required {account}
session  required pam_permit.so
"""
# A script that accepts each code once. pam_exec passes the typed text with a NUL at the end.
_CHECK = """#!/bin/sh
code=$(tr -d '\\000')
grep -qxF -e "$code" {codes} || exit 1
grep -vxF -e "$code" {codes} > {codes}.new
mv {codes}.new {codes}
"""


class Pam:
    """The settings of the servers' PAM: what it asks the laboratory's user for.

    The last call applies to all servers.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._codes = files.far / "codes"
        self._service = files.root / "etc" / "pam.d" / "sshd"

    def ask_password(self, password: str) -> None:
        """Require this password. Raises TrayagentError (sandbox-broken)."""
        words = [tool("openssl"), "passwd", "-6", "-stdin"]
        done = subprocess.run(words, input=password, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise TrayagentError(f"no password could be made: {done.stderr}", code="sandbox-broken")
        # Write the file in place, because the file itself is bind-mounted on the server.
        shadow = self._files.root / "etc" / "shadow"
        shadow.write_text(f"{self._files.user}:{done.stdout.strip()}:19000:0:99999:7:::\n")
        self._service.write_text(_UNIX)

    def ask_codes(self, codes: Iterable[str]) -> None:
        """Require one of these codes at each login. Each code works once."""
        self._codes.write_text("".join(f"{code}\n" for code in codes))
        check = self._files.far / "check-code"
        check.write_text(_CHECK.format(codes=self._codes))
        check.chmod(0o700)
        self._service.write_text(_CODES.format(check=check))

    def refuse_account(self, refused: bool = True) -> None:
        """Refuse every account after its key was accepted, as if the account had expired, or accept accounts again."""
        self._service.write_text(_ACCOUNT.format(account="pam_deny.so" if refused else "pam_permit.so"))

    def codes_left(self) -> list[str]:
        """Return the unused codes."""
        return self._codes.read_text().split()
