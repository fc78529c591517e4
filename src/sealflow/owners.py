"""Who else may change a file or a folder: what the trust in it, and the search for a project, depend on."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from sealflow.wording import quoted, shown_path


def find_writer(path: Path, status: os.stat_result | None = None) -> tuple[str, str] | None:
    """Return who else may change a file or folder, and what to do; None where only this user and root may.

    ``status``: what is known of it already.
    """
    status = path.stat() if status is None else status
    if status.st_uid not in (0, os.geteuid()):
        return f"{shown_path(path)} belongs to another user", "Use a copy that belongs to you"
    if status.st_mode & stat.S_IWOTH or (
        status.st_mode & stat.S_IWGRP and not _is_private_group(status.st_gid)
    ):
        return f"other users may write to {shown_path(path)}", f"Run: chmod go-w {quoted(path)}"
    return None


def _is_private_group(group: int) -> bool:
    """Whether this user is alone in a group: systems that make one for each user make folders writable to it."""
    try:
        user, entry = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    alone = set(entry.gr_mem) <= {user.pw_name}
    return group != 0 and group == user.pw_gid and entry.gr_name == user.pw_name and alone
