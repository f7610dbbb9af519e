"""Write an HTML page to a file that the user names."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from pathlib import Path

    from trayagent.errors import TrayagentError


def write_page(name: str, text: str, example: str) -> Path:
    """Write the page completely or not at all, because a browser may show the old page. Return the file.

    Raises TrayagentError, whose hint shows `example`.
    """
    import contextlib

    file = page_file(name, example)
    fresh = file.with_name(f".{file.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8", errors="replace")
        fresh.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise _unwritable(str(file), error.strerror or str(error), example) from error
    return file


def page_file(name: str, example: str) -> Path:
    """Return the file with this name; raises TrayagentError for a directory and for an empty name."""
    from pathlib import Path

    try:
        file = Path(name).expanduser()
        folder = not file.name or file.is_dir()
    except RuntimeError as error:  # ~ of an unknown user
        raise _unwritable(name, "there is no such home directory", example) from error
    except OSError as error:
        raise _unwritable(name, error.strerror or str(error), example) from error
    if folder:
        raise _unwritable(name, "it is a directory" if name else "it names no file", example)
    return file


def _unwritable(name: str, why: str, example: str) -> TrayagentError:
    from trayagent.errors import TrayagentError

    hint = f"Name a file in a directory of your own, such as {example}."
    return TrayagentError(f"{name or repr(name)} cannot be written: {why}.", code="unwritable", hint=hint)
