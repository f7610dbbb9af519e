"""Explain the settings of autossh, ssh and service managers that are no longer needed, one line each."""

from __future__ import annotations

from collections.abc import Iterator

from trayagent.init.found_on_machine import Found
from trayagent.ssh.command_line import Call

_SEE_HISTORY = "`trayagent history` shows what happened, `trayagent why HOST` the reason"
_AUTOSSH = {
    "AUTOSSH_PORT": "trayagent probes through the connection itself and needs no port for that",
    "AUTOSSH_GATETIME": "a first connection that ends early is tried again, too, unless the login was refused",
    "AUTOSSH_POLL": "the kernel reports a change of network immediately; trayagent does not poll",
    "AUTOSSH_FIRST_POLL": "the kernel reports a change of network immediately; trayagent does not poll",
    "AUTOSSH_LOGFILE": _SEE_HISTORY,
    "AUTOSSH_LOGLEVEL": _SEE_HISTORY,
    "AUTOSSH_DEBUG": _SEE_HISTORY,
    "AUTOSSH_MAXSTART": "trayagent does not give up: pauses grow to 5 minutes, and a refused login is not repeated",
    "AUTOSSH_MAXLIFETIME": "a connection is kept while it lives; `trayagent disconnect HOST` ends it",
    "AUTOSSH_MESSAGE": "trayagent sends no messages through a port",
    "AUTOSSH_PIDFILE": "`trayagent status --json` shows the pids",
    "AUTOSSH_PATH": "to use another ssh, set TRAYAGENT_SSH",
    "AUTOSSH_NTSERVICE": "it is for Windows",
}
_NOTICED = (
    "not needed to detect a change of network; keep it in ssh_config if ssh should also detect a silent loss"
)
_KEY = "left to ssh_config: check the host key once with `trayagent login HOST`"
_HOOKS = "[hooks] in the configuration runs programs at events"
_SETTINGS = {
    "ServerAliveInterval": _NOTICED,
    "ServerAliveCountMax": _NOTICED,
    "ExitOnForwardFailure": "each forward is opened and retried on its own; one failure affects no other",
    "TCPKeepAlive": "trayagent probes a doubtful connection instead of waiting",
    "ConnectTimeout": "trayagent uses 10 s if ssh_config does not set it",
    "ConnectionAttempts": "trayagent decides about attempts and their pauses",
    "BatchMode": "always on: ssh asks nothing in the background",
    "ControlMaster": "each host has a master anyway",
    "ControlPath": "each host has one, from ssh_config or from trayagent",
    "ControlPersist": "trayagent keeps the master itself",
    "StrictHostKeyChecking": _KEY,
    "UserKnownHostsFile": _KEY,
    "LogLevel": _SEE_HISTORY,
    "RemoteCommand": "a master runs no command",
    "PermitLocalCommand": _HOOKS,
    "LocalCommand": _HOOKS,
    "Tunnel": "tun devices are not supported",
    "ClearAllForwardings": "list the forwards that you want, or none",
}
_FLAGS = {
    "f": "the agent keeps the master in the background",
    "n": "a master reads no input",
    "T": "a master has no terminal",
    "t": "`trayagent attach HOST` opens a session in the terminal",
    "q": _SEE_HISTORY,
    "v": _SEE_HISTORY,
    "E": _SEE_HISTORY,
    "S": "each host has a control path, from ssh_config or from trayagent",
    "w": "tun devices are not supported",
}
_STARTERS = {
    "Restart=": "trayagent connects again automatically, at once after a change of network",
    "RestartSec=": "pauses go from 1 s to 5 min, and end when the network changes",
    "StartLimitInterval=": "trayagent does not give up",
    "StartLimitIntervalSec=": "trayagent does not give up",
    "StartLimitBurst=": "trayagent does not give up",
    "KeepAlive": "trayagent connects again automatically, at once after a change of network",
    "StartInterval": "trayagent connects again automatically, at once after a change of network",
    "ThrottleInterval": "pauses go from 1 s to 5 min, and end when the network changes",
}
_SPELLED = {name.lower(): name for name in _SETTINGS}
_NO_MONITOR = "ServerAlive instead of a monitoring port; trayagent needs neither"


def explained(found: Found, call: Call) -> Iterator[tuple[str, str]]:
    """Yield each unneeded setting of a call, of its variables and of its unit, with the reason."""
    if call.monitor is not None and "AUTOSSH_PORT" not in found.env:
        yield f"-M {call.monitor}", _NO_MONITOR if call.monitor == "0" else _AUTOSSH["AUTOSSH_PORT"]
    for name in sorted(found.env):
        if name in _AUTOSSH:
            yield name, _AUTOSSH[name]
    for setting in call.settings:
        if setting in _SPELLED:
            yield _SPELLED[setting], _SETTINGS[_SPELLED[setting]]
    for flag in sorted(call.flags & _FLAGS.keys()):
        yield f"-{flag}", _FLAGS[flag]
    for word in found.extras:
        if word in _STARTERS:
            yield word, _STARTERS[word]
