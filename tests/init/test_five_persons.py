"""Five users with their own ssh files: the configuration that `init` writes connects, and `doctor` accepts it."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.init.conftest import furnish
from tests.lab.matrix import laboratory
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import JUMP, OTHER, SERVER
from trayagent.sandbox.ssh_config_of_laptop import make_known

pytestmark = pytest.mark.lab

# The names in the users' files, and the lab's server behind each name.
NAMES: Mapping[str, tuple[str, ...]] = {
    SERVER: ("staging.shop.example", "relay.field.example", "box.example", "vault.corp.example"),
    JUMP: ("bastion.berlin.corp.example", "bastion.lyon.corp.example"),
    OTHER: ("login1.hpc.example",),
}
CONNECTED: Mapping[str, Mapping[str, str]] = {
    "web-developer": {"staging": "connected"},
    "sysadmin": {"web01.berlin": "connected", "vault": "connected", "lyon-bastion": "connected"},
    "field-engineer": {"relay": "connected", "plant": "connected"},
    "scientist": {"cluster": "needs-sign-in"},
    "minimalist": {},
}
# Allowed findings: advice about the users' own ssh_config, which `init` does not change, and about the login that
# needs a code.
ADVICE: Mapping[str, set[str]] = {
    "web-developer": {"forwards-in-ssh-config"},
    "sysadmin": set(),
    "field-engineer": {"forwards-in-ssh-config", "control-path-none"},
    "scientist": {"forwards-in-ssh-config", "auth-denied"},
    "minimalist": {"control-path-none"},
}
TOPICS = {"configuration", "hosts", "control paths", "forwards", "ports", "keys", "known hosts", "server"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Build a laptop at home, and three servers for all the names."""
    with laboratory() as made:
        made.join("home")
        sshds = {address: made.sshd(address) for address in (SERVER, JUMP)}
        sshds[OTHER] = made.sshd(
            OTHER, config=["AuthenticationMethods publickey,password", "PasswordAuthentication yes"]
        )
        for address, port in (("10.20.0.11", 22), ("192.0.2.50", 2222)):  # behind a jump host
            made.server.check(["ip", "address", "add", f"{address}/32", "dev", "lo"], admin=True)
            made.sshd(address, port)
        hosts = made.files.root / "etc/hosts"
        with hosts.open("a") as file:
            for address, names in NAMES.items():
                file.write(f"{address} {' '.join(names)}\n")
        for address, names in NAMES.items():
            make_known(made.files, sshds[address], *names)
        yield made


@pytest.fixture
def person(lab: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the laptop's user the files of one of the five users, with the lab's key and account."""
    home, kept = lab.files.home, lab.files.home.with_name("home-kept")
    home.rename(kept)
    home.mkdir(mode=0o700)
    furnish(home, request.param)
    ssh = home / ".ssh"
    ssh.chmod(0o700)
    shutil.copy(kept / ".ssh/known_hosts", ssh)
    for file in (ssh / "config", *ssh.glob("conf.d/*")):
        text = file.read_text()
        for key in re.findall(r'IdentityFile "?([^"\n]+)', text):
            shutil.copy(kept / ".ssh/id_ed25519", Path(key.replace("~", str(home))))
        file.write_text(re.sub(r"(?m)^( *User) .*", rf"\1 {lab.files.user}", text))
        file.chmod(0o600)
    shutil.copy(kept / ".ssh/id_ed25519", ssh)
    yield request.param
    shutil.rmtree(home)
    kept.rename(home)


@pytest.mark.parametrize("person", sorted(CONNECTED), indirect=True)
def test_what_init_writes_runs_and_doctor_accepts_it(lab: Lab, person: str) -> None:
    """The agent loads the file and connects its hosts, some at their first use. `doctor` finds no problem in it."""
    with Agent(lab) as agent:
        done = agent.cli("init", "--yes")
        assert done.returncode == 0, done.stderr
        agent.start()
        hosts = tomllib.loads(agent.config.read_text()).get("hosts", {})
        on_use = [name for name, host in hosts.items() if host["connect"] == "on-use"]
        if on_use:
            agent.cli("reconnect", *on_use)  # the user begins to use them
        for host, state in CONNECTED[person].items():
            agent.wait_state(host, state)
        findings = json.loads(agent.cli("doctor", "--json").stdout)["findings"]
        agent.cli("stop", "--masters")  # the next user's agent would adopt them
    wrong = [one for one in findings if one["level"] != "ok" and one["topic"] in TOPICS]
    assert {one["code"] for one in wrong} == ADVICE[person], wrong
