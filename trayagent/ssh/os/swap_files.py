"""Swap two files in one step, so that no file is lost between a check and a rename.

Source: rename(2), RENAME_EXCHANGE and RENAME_NOREPLACE; on macOS renamex_np(2), RENAME_SWAP and RENAME_EXCL.
Some file systems (NFS, 9p, some of FUSE) support neither flag. C libraries other than glibc do not support them,
either.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2  # linux/fs.h
_SWAP, _EXCL = 2, 4  # macOS, sys/stdio.h
# The errors of old kernels, of file systems without support, and between two mounts of one file system.
_UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EXDEV}
_libc = ctypes.CDLL(None, use_errno=True)


def exchange(one: str, other: str) -> bool:
    """Swap two files; return False if this system or file system cannot. Raise OSError."""
    return _renamed(one, other, _SWAP if sys.platform == "darwin" else _EXCHANGE)


def rename_new(source: str, target: str) -> bool:
    """Rename a file to an unused name; return False if this system cannot do it in one step.

    Raise FileExistsError if the name is in use, and other OSErrors.
    """
    return _renamed(source, target, _EXCL if sys.platform == "darwin" else _NOREPLACE)


def _renamed(source: str, target: str, flags: int) -> bool:
    words = os.fsencode(source), os.fsencode(target)
    if sys.platform == "darwin":
        call, arguments = getattr(_libc, "renamex_np", None), (*words, ctypes.c_uint(flags))
    else:
        call = getattr(_libc, "renameat2", None)
        arguments = (_AT_FDCWD, words[0], _AT_FDCWD, words[1], ctypes.c_uint(flags))
    if call is None:
        return False
    if call(*arguments) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), source, None, target)
