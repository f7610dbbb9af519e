"""The limit of open files: each connected host takes several, and the usual limit of 1024 is for select(2)."""

from __future__ import annotations

import contextlib
import resource


def allow_many_files() -> int:
    """Raise the soft limit of open files to the hard one, as far as the system allows. Return the limit now.

    Source: getrlimit(2), RLIMIT_NOFILE. The agent uses epoll or kqueue, and ssh uses poll, so neither needs the lower
    limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # a Mac allows less than its hard limit says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft
