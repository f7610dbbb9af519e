"""One server under several names or ports: refused logins count for the server, not for each name."""

from __future__ import annotations

import pytest

from tests.lab.logins.test_logins import other_key, refusals, stays
from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import SERVER

NAMES = ("web", "db", "ci", "api", "git", "mail")
LIMIT_REACHED_S = 6.0  # longer than six parallel logins would take


@pytest.mark.parametrize("how", ["known names", "new names", "ports"])
def test_six_names_of_one_server_cost_two_refused_logins(lab: Lab, agent: Agent, how: str) -> None:
    """A refused key costs two logins at a server with six names or six ports, also after a restart of the agent."""
    lab.join("home")
    ports = [22 + number for number in range(len(NAMES))]
    more = [f"ListenAddress {SERVER}:{port}" for port in ports[1:]] if how == "ports" else []
    sshd = lab.sshd(config=["LogLevel VERBOSE", *more])
    hosts: dict[str, dict[str, str | int | list[str]]] = {}
    for name, port in zip(NAMES, ports, strict=True):
        hosts[name] = {"HostName": f"{name}.example", "ControlPath": f"~/.ssh/cm-{name}"}
        if how == "ports":
            hosts[name] |= {"HostName": SERVER, "Port": port}
        if how == "new names":
            hosts[name] |= {"StrictHostKeyChecking": "accept-new"}
    known = {"known names": [f"{name}.example" for name in NAMES], "new names": []}
    for name in known.get(how, [f"[{SERVER}]:{port}" for port in ports[1:]]):
        with lab.files.known_hosts.open("a") as file:
            file.write(f"{name} {sshd.host_key}\n")
    with (lab.files.root / "etc" / "hosts").open("a") as file:
        file.writelines(f"{SERVER} {name}.example\n" for name in NAMES)
    lab.ssh_config(hosts)
    other_key(lab)
    agent.start("".join(f"[hosts.{name}]\n" for name in NAMES))
    until("two logins are refused", lambda: refusals(sshd) >= 2)
    stays("two logins", lambda: refusals(sshd) == 2, LIMIT_REACHED_S)
    agent.kill9()
    agent.start()
    stays("two logins", lambda: refusals(sshd) == 2, LIMIT_REACHED_S)
