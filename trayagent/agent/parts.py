"""The parts that nearly every other part of the agent uses."""

from __future__ import annotations

from msgspec import Struct

from trayagent.agent.current_configuration import CurrentConfiguration
from trayagent.agent.event_loop import Shell
from trayagent.agent.state.records import Records
from trayagent.agent.state.ssh_environment import Environment
from trayagent.agent.tasks import Tasks
from trayagent.config.file_paths import FilePaths


class Parts(Struct, frozen=True):
    """What the effects share: files, configuration, the event loop, tasks, records and ssh's environment."""

    file_paths: FilePaths
    configuration: CurrentConfiguration
    shell: Shell
    tasks: Tasks
    records: Records
    environment: Environment
