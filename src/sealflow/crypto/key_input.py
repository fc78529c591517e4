"""Keys that can be read only once: from a descriptor that the process was given, or from a program that the owner names.

What was read is kept for the life of the process, because a store may be opened again.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sealflow.crypto.master_key import KeyMaterial
from sealflow.errors import InvalidMasterKeyError, SettingsError, attempt, without_locals
from sealflow.settings import MASTER_KEY_COMMAND

if TYPE_CHECKING:
    import subprocess

MAX_BYTES = 4096
COMMAND_SECONDS = 60
"""How long the program may take: a person may have to touch a device or to type a passphrase."""

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,9})")
_lock = threading.Lock()
_read: dict[object, KeyMaterial] = {}


def descriptor_named(path: Path) -> int | None:
    """Return N for ``/dev/fd/N`` and ``/proc/self/fd/N``, 0 for ``/dev/stdin``, None for any other path."""
    if str(path) == "/dev/stdin":
        return 0
    found = _DESCRIPTOR.fullmatch(str(path))
    return int(found[1]) if found else None


@without_locals
def read_descriptor(number: int) -> str:
    """Return what a descriptor holds, to its end, of at most 4 KiB. The first call reads it; it stays open.

    Raises InvalidMasterKeyError for one that is not open, a terminal, or holds more than a key.
    """
    where = "standard input" if number == 0 else f"the descriptor {number}"
    with _lock:
        status, error = attempt(OSError, os.fstat, number)
        if status is None or error is not None:
            raise InvalidMasterKeyError(
                f"{where}, which should hold a master key, is not open", hint="Pass it on: sealflow … 3< FILE"
            )
        if os.isatty(number):
            raise InvalidMasterKeyError(
                f"{where} is a terminal", hint="A key is not typed there: use a pipe or a file"
            )
        known = (number, status.st_dev, status.st_ino)
        if known not in _read:
            if number > 2:
                os.set_inheritable(number, False)  # no program that a node starts may find it
            content, error = attempt(OSError, _read_all, number)
            if content is None or error is not None:
                raise InvalidMasterKeyError(f"{where} cannot be read", hint="Open it for reading")
            _read[known] = KeyMaterial(content, where)
        return decode_key(_read[known].reveal(), where)


def holds_standard_input() -> bool:
    """Whether a key was read from standard input, which is then at its end."""
    return any(isinstance(known, tuple) and known[0] == 0 for known in _read)


@without_locals
def read_command(command: str) -> str:
    """Run a program without a shell and return what it prints. The first call runs it.

    Its standard error is ours, its standard input is empty. Raises InvalidMasterKeyError, which never holds its output,
    when it fails, takes longer than 60 seconds, or prints more than 4 KiB; SettingsError for a command that cannot be run.
    """
    import subprocess  # most processes run no command for their key

    with _lock:
        if command not in _read:
            words = _words(command)
            done, error = attempt((OSError, subprocess.TimeoutExpired), _run, words)
            if isinstance(error, subprocess.TimeoutExpired):
                raise _failed(words[0], f"took longer than {COMMAND_SECONDS} seconds")
            if done is None or error is not None:
                raise _failed(words[0], "cannot be run")
            if done.returncode != 0:
                raise _failed(words[0], f"failed (exit code {done.returncode})")
            _read[command] = KeyMaterial(done.stdout, words[0])
        return decode_key(_read[command].reveal(), f"what {_read[command].source} printed")


@without_locals
def decode_key(content: bytes, where: str) -> str:
    """Return the text of a key; InvalidMasterKeyError, which holds nothing of it."""
    if len(content) > MAX_BYTES:
        raise InvalidMasterKeyError(f"{where} is larger than 4 KiB", hint="Give the key and nothing else")
    text, error = attempt(UnicodeDecodeError, content.decode)
    if text is None or error is not None:
        raise InvalidMasterKeyError(
            f"{where} does not hold text", hint="Make a key with `sealflow key generate`"
        )
    return text


def _run(words: list[str]) -> subprocess.CompletedProcess[bytes]:
    import subprocess

    return subprocess.run(  # noqa: S603 - the owner names the program, in a variable
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_SECONDS, check=False
    )


def _read_all(number: int) -> bytes:
    content = b""
    while len(content) <= MAX_BYTES and (piece := os.read(number, MAX_BYTES + 1)):
        content += piece
    return content


def _words(command: str) -> list[str]:
    """Split the command; its program is a whole path, or a name found on a part of PATH that is a whole path.

    A relative path would let the current folder choose what runs.
    """
    words, error = attempt(ValueError, shlex.split, command)
    if not words or error is not None:
        raise SettingsError(
            f"{MASTER_KEY_COMMAND} is not a command",
            hint="Write a program and its arguments, quoted as in a shell",
        )
    program = shutil.which(words[0])
    if program is None or not Path(program).is_absolute():
        raise SettingsError(
            f"the program of {MASTER_KEY_COMMAND} is neither an absolute path nor a name on PATH",
            hint="Write the whole path of the program",
        )
    return [program, *words[1:]]


def _failed(program: str, reason: str) -> InvalidMasterKeyError:
    return InvalidMasterKeyError(
        f"the program {program} of {MASTER_KEY_COMMAND} {reason}",
        hint="What it said is above; run it yourself to see more",
    )
