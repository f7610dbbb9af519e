"""Changed files in watched folders are reported to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from trayagent.agent.files.directory_watcher import Files

DEADLINE_S = 10.0


class Heard:
    """Keeps the changed paths."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self._news = asyncio.Event()

    def file_changed(self, path: Path) -> None:
        """Note a changed path."""
        self.paths.append(path)
        self._news.set()

    async def wait(self, path: Path) -> None:
        """Wait until this path is reported, then forget all paths."""
        async with asyncio.timeout(DEADLINE_S):
            while path not in self.paths:
                self._news.clear()
                await self._news.wait()
        self.paths.clear()


def watching(
    folder: Path, do: Callable[[Heard, Files], Awaitable[None]], *, each_write: bool = False
) -> None:
    """Run a coroutine while a folder is watched."""

    async def run() -> None:
        heard = Heard()
        files = Files(heard, each_write=each_write)
        files.start()
        files.follow([folder])
        try:
            await do(heard, files)
        finally:
            files.close()

    asyncio.run(run())


def test_new_changed_renamed_and_removed_files_are_reported(tmp_path: Path) -> None:
    """A file is reported when it appears, is closed after a write, gets another name, and is removed."""

    async def do(heard: Heard, _files: Files) -> None:
        one, other = tmp_path / "one", tmp_path / "other"
        one.touch()
        await heard.wait(one)
        one.write_text("text")
        await heard.wait(one)
        one.rename(other)
        await heard.wait(other)
        other.unlink()
        await heard.wait(other)
        other.mkdir()
        await heard.wait(other)

    watching(tmp_path, do)


def test_a_file_that_changes_often_is_reported_once(tmp_path: Path) -> None:
    """With each write, a file that is written ten times at once is reported once; a new file is not."""
    log = tmp_path / "log"
    log.touch()

    async def do(heard: Heard, _files: Files) -> None:
        (tmp_path / "new").touch()
        with log.open("w", buffering=1) as file:
            for number in range(10):
                file.write(f"{number}\n")
        await asyncio.sleep(0.1)
        assert heard.paths.count(log) >= 1
        assert tmp_path / "new" not in heard.paths

    watching(tmp_path, do, each_write=True)


def test_a_folder_that_is_made_again_can_be_watched_again(tmp_path: Path) -> None:
    """The end of a watched folder is reported, and a new folder there can be watched."""
    folder = tmp_path / "folder"
    folder.mkdir()

    async def do(heard: Heard, files: Files) -> None:
        folder.rmdir()
        await heard.wait(folder)
        folder.mkdir()
        files.follow([folder])
        (folder / "file").touch()
        await heard.wait(folder / "file")
        moved = folder.rename(tmp_path / "moved")
        await heard.wait(folder)
        folder.mkdir()
        files.follow([folder])
        (moved / "not watched").touch()
        (folder / "file").touch()
        await heard.wait(folder / "file")

    watching(folder, do)
