"""Processes of this machine, told from later ones that got their number."""

import os

from read.errors import optional_imports


def birth(pid: int) -> float | None:
    """When a process began, in seconds since the machine did, whatever was done to its clock; None where it is gone."""
    with optional_imports():
        import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time() - psutil.boot_time()
    except psutil.NoSuchProcess:
        return None


def is_alive(pid: int, began: float) -> bool:
    """Whether this process of this machine lives, and its number did not go to another.

    One of another user, that a machine hides (mounts /proc with hidepid), counts as alive as long as its number does.
    """
    now = birth(pid)
    return _is_hidden(pid) if now is None else abs(now - began) < 2  # a machine's beginning is told in whole seconds


def _is_hidden(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False
