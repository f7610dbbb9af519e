"""Raises the limit of open files: each connected host needs several, and the default limit is often only 1024."""

from __future__ import annotations

import contextlib
import resource


def allow_many_files() -> int:
    """Raise the soft limit of open files to the hard one, as far as the system allows. Return the limit now.

    The default soft limit of 1024 protects programs that use select(2). The agent uses epoll or kqueue, and ssh uses
    poll. Source: getrlimit(2), RLIMIT_NOFILE.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS allows less than the hard limit that it reports
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft
