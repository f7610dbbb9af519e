"""Files that are symbolic links into a directory of dotfiles, as `stow` and `chezmoi` make them."""

from __future__ import annotations

import os
from pathlib import Path

from tests.lab.matrix import until
from trayagent.agent.files.symbolic_links import names_of
from trayagent.sandbox import Agent, Lab


def host(name: str) -> str:
    """Return the configuration of a host that is never connected."""
    return f'[hosts.{name}]\nconnect = "never"\n'


def replace(path: Path, text: str) -> None:
    """Write a file as editors do: a new file takes its name."""
    fresh = path.with_name("fresh")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(path)


def link(path: Path, target: str) -> None:
    """Make a link, or change the target of an old one, as `ln -sfn` does."""
    fresh = path.with_name("fresh")
    fresh.symlink_to(target)
    fresh.replace(path)


def test_a_linked_configuration_is_read_again_when_its_file_changes(lab: Lab, agent: Agent) -> None:
    """The file may be replaced or written, be behind several links, and each link may get another target."""
    dotfiles = lab.files.home / "dotfiles"
    for folder in ("work", "home"):
        (dotfiles / folder).mkdir(mode=0o700, parents=True)
    dotfiles.chmod(0o700)
    work, at_home, between = (
        dotfiles / "work/config.toml",
        dotfiles / "home/config.toml",
        dotfiles / "current",
    )
    replace(work, host("one"))
    replace(at_home, host("four"))
    link(between, "work")
    link(agent.config, os.path.relpath(between / "config.toml", agent.config.parent.resolve()))
    lab.ssh_config({name: {"HostName": "203.0.113.10"} for name in ("one", "two", "three", "four", "five")})
    agent.start()

    def knows(name: str) -> bool:
        return [h["name"] for h in agent.status()["hosts"]] == [name]

    until("the agent starts", lambda: knows("one"))
    replace(work, host("two"))
    until("the file was replaced", lambda: knows("two"))
    work.write_text(host("three"))
    until("the file was written", lambda: knows("three"))
    link(between, "home")
    until("the link between leads to another folder", lambda: knows("four"))
    at_home.write_text(host("five"))
    until("the new file was written", lambda: knows("five"))
    link(agent.config, str(work))
    until("the first link leads to another file", lambda: knows("three"))
    moved = agent.config.parent.rename(dotfiles / "folder")
    link(agent.config.parent, str(moved))
    until("the folder became a link", lambda: knows("three"))
    replace(agent.config, host("one"))
    until("the file in the linked folder was replaced", lambda: knows("one"))


def test_a_linked_ssh_config_is_read_again_when_its_file_changes(lab: Lab, agent: Agent) -> None:
    """An Include in it may be a link, too, and a linked folder may get another target."""
    lab.join("home")
    lab.sshd()
    address = {"HostName": "203.0.113.10"}
    lab.ssh_config({"web01": address})
    config, dotfiles = Path(agent.env["TRAYAGENT_SSH_CONFIG"]), lab.files.home / "dotfiles"
    for folder in ("", "one", "two"):
        (dotfiles / folder).mkdir(mode=0o700)
    for number, folder in ((1, "one"), (2, "two")):
        replace(dotfiles / folder / "more", f"Host web01\n    LocalForward 800{number} 127.0.0.1:22\n")
    link(lab.files.home / ".ssh" / "more.d", str(dotfiles / "one"))
    plain = config.read_text()
    replace(dotfiles / "ssh_config", plain)
    link(config, str(dotfiles / "ssh_config"))
    agent.start("[hosts.web01]\n")
    agent.wait_state("web01", "connected")

    def forwards() -> list[str]:
        return [f["spec"].partition(":")[0] for f in agent.listed_host("web01")["forwards"]]

    replace(dotfiles / "ssh_config", f"Include more.d/more\n{plain}")
    until("ssh_config was replaced", lambda: forwards() == ["8001"])
    (dotfiles / "one" / "more").write_text("Host web01\n    LocalForward 8003 127.0.0.1:22\n")
    until("the included file was written", lambda: forwards() == ["8003"])
    link(lab.files.home / ".ssh" / "more.d", str(dotfiles / "two"))
    until("the folder leads elsewhere", lambda: forwards() == ["8002"])


def test_links_in_a_circle_have_an_end(tmp_path: Path) -> None:
    """A link to itself gives a short list, and so does one through a missing folder."""
    (tmp_path / "circle").symlink_to("circle")
    assert set(names_of(tmp_path / "circle")) == {tmp_path.resolve() / "circle"}
    (tmp_path / "lost").symlink_to("gone/../other/file")
    assert names_of(tmp_path / "lost") == (tmp_path.resolve() / "lost", tmp_path.resolve() / "other" / "file")
