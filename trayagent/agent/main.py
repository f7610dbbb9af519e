"""`trayagent run`: starts the agent from the command line and ends it."""

from __future__ import annotations

import logging
import logging.handlers
import signal
import sys
from pathlib import Path

from trayagent.agent import save_memory

save_memory.without_openssl()

import asyncio  # noqa: E402  # `without_openssl` must come first

from trayagent.agent.agent import Agent  # noqa: E402
from trayagent.agent.current_configuration import CurrentConfiguration  # noqa: E402
from trayagent.agent.open_files_limit import allow_many_files  # noqa: E402
from trayagent.agent.systemd_notify import Readiness  # noqa: E402
from trayagent.agent.terminal_output_of_run import Needs, greeting, print_line  # noqa: E402
from trayagent.config.file_paths import FilePaths, prepare  # noqa: E402
from trayagent.ipc.errors import AlreadyRunning  # noqa: E402
from trayagent.ipc.one_agent_lock import Lock  # noqa: E402

LOG_BYTES = 1 << 20
LOG_FILES = 3


def run(file_paths: FilePaths, config_path: Path, tray: bool, verbose: bool = False) -> int:
    """Run the agent until SIGTERM, SIGINT or `stop`; return the exit status.

    With `verbose`, the whole log also goes to the terminal, if there is one.

    Raises ConfigError for an unusable configuration, and TrayagentError when another agent is already running.
    """
    configuration = CurrentConfiguration(config_path)
    prepare(file_paths)
    allow_many_files()
    lock = Lock(file_paths.lock_file)
    try:
        lock.acquire()
    except AlreadyRunning as error:
        # systemd calls a service failed that ends before it is ready, whatever its exit status.
        Readiness().not_needed(error.title)
        raise
    try:
        quiet = _is_terminal() and not verbose
        _log_to(file_paths.log_file, logging.WARNING if quiet else logging.INFO)
        if quiet:
            print_line(greeting(len(configuration.config.hosts)))
        asyncio.run(_run(file_paths, configuration, lock, tray, quiet))
    finally:
        lock.release()
    return 0


async def _run(
    file_paths: FilePaths, configuration: CurrentConfiguration, lock: Lock, tray: bool, quiet: bool
) -> None:
    agent = Agent(file_paths, configuration, lock, tray=tray)
    if quiet:
        agent.listen(Needs())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    await agent.run()


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _log_to(path: Path, shown: int) -> None:
    """Log to a file of bounded size with mode 0600. If it cannot be written (a read-only home), log to stderr.

    Records of at least level `shown` also go to the terminal, if there is one.
    """
    logging.raiseExceptions = False  # on a full disk, each record would print a traceback to the journal
    handlers: list[logging.Handler] = []
    unwritable = None
    try:
        handlers.append(logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES))
        path.chmod(0o600)
    except OSError as error:
        unwritable = error.strerror
        if not _is_terminal():
            handlers = [logging.StreamHandler()]
    if _is_terminal():
        terminal = logging.StreamHandler()
        terminal.setLevel(shown)
        handlers.append(terminal)
    logging.basicConfig(
        level=logging.INFO,
        handlers=handlers,
        format="%(asctime)s.%(msecs)03d %(message)s",
        datefmt="%H:%M:%S",
    )
    if unwritable is not None:
        logging.getLogger(__name__).warning("%s cannot be written: %s", path, unwritable)
