"""What platforms make of a secret: files, modes, owners, links and mounts, in a mount namespace of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def _can_mount() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not _can_mount(), reason="needs root, unshare(1) and the right to mount")

_PRELUDE = """
import os, subprocess, sys
from pathlib import Path

KEY = os.environ.pop("TEST_KEY")

def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)

def room_for(path):
    '''Make a folder that is not there, on a file system of its own.'''
    here = next(item for item in (path, *path.parents) if item.is_dir())
    if here != path and Path("/run") not in (here, *here.parents):  # /run is on one already
        mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", here)
    path.mkdir(parents=True, exist_ok=True)

def kubernetes(path, name, *, mode, group=0, writable=False):
    '''A secret volume, as the kubelet's AtomicWriter makes it.'''
    path = Path(path)
    room_for(path)
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", path)
    os.chown(path, 0, group)
    path.chmod(0o3777 if group else 0o1777)
    data = path / "..2026_11_25_02_45_00.1234567890"
    data.mkdir(mode=0o755)
    os.chown(data, 0, group)
    file(data / name, mode=mode, group=group)
    (path / "..data").symlink_to(data.name)
    (path / name).symlink_to(Path("..data", name))
    if not writable:
        mount("-o", "remount,ro", path)
    return path / name

def file(path, *, mode, owner=0, group=0):
    path = Path(path)
    room_for(path.parent)
    path.write_text(KEY + "\\n")
    os.chown(path, owner, group)
    path.chmod(mode)
    return path

def bound(path, *, mode, owner=0, group=0):
    '''One file, mounted read-only, as Docker and Compose make it.'''
    path = Path(path)
    outside = file(Path("/run/outside", path.name), mode=mode, owner=owner, group=group)
    room_for(path.parent)
    path.touch()
    mount("--bind", outside, path)
    mount("-o", "remount,bind,ro", path)
    return path

def become(uid, *groups):
    os.setgroups(groups)
    os.setgid(uid)
    os.setuid(uid)

from sealflow.crypto.key_sources import find_master_key
from sealflow.errors import SealflowError

mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")

def read(path, **variables):
    '''Say whose key is used, or why none is.'''
    os.environ.update(WORKFLOW_SECRETS_MASTER_KEY_FILE=str(path), **variables)
    try:
        print(find_master_key(None, Path("/nowhere"), None).kek_id)
    except SealflowError as error:
        print(error)
"""


def run_in_pod(script: str, key: str) -> str:
    """Run ``script`` as root, with the functions above, where its mounts are seen by nobody else; return what it prints."""
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", sys.executable, "-c", _PRELUDE + script],
        env={**os.environ, "TEST_KEY": key},
        cwd=Path("/"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
