"""``sealflow secret edit``: the fields of a secret in the user's editor, in a file that does not outlive it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealflow.cli.common import MAX_INPUT, decoded, json_option, read_json
from sealflow.cli.completion import name_argument
from sealflow.cli.terminal import echo, print_json
from sealflow.errors import SealflowError, SecretValidationError, VersionConflictError

if TYPE_CHECKING:
    from sealflow.model.secret import SecretInfo
    from sealflow.service.secret_service import SecretService

_PREFIX = "sealflow-edit-"


@click.command()
@name_argument
@json_option
def edit(name: str, as_json: bool) -> None:
    """Change the fields of NAME in your editor ($VISUAL, $EDITOR or vi), as JSON.

    A new version is made only if a field changed. The file is in memory where the system has a folder for that, and
    is removed when the editor ends.
    """
    from sealflow.service.open_service import open_existing

    with open_existing() as service, _private_folder() as folder:
        info = _edit(service, name, folder / f"{name}.json")
    if as_json:
        print_json(info.to_dict() if info is not None else {"name": name, "changed": False})
    elif info is None:
        echo(f"Nothing changed in {name}.")
    else:
        echo(f"The secret {name} was updated: version {info.version}.")


def _edit(service: SecretService, name: str, file: Path) -> SecretInfo | None:
    """Return the new version, or None where no field changed. On a terminal, what is wrong can be corrected."""
    secret = service.get_secret(name)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        json.dump(secret.data, opened, indent=2, ensure_ascii=False)
        opened.write("\n")
    while True:
        _run_editor(file)
        try:
            data = _read(file)
            if data == secret.data:
                return None
            return service.update_secret(name, data, expected_version=secret.version)
        except VersionConflictError:
            raise
        except SealflowError as error:
            if not sys.stdin.isatty():
                raise
            echo(f"sealflow: {error}", err=True)
        if not click.confirm("Edit again?", default=True, err=True):
            return None


def _read(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        content = opened.read(MAX_INPUT + 1)
    if len(content) > MAX_INPUT:
        raise SealflowError("the edited file is larger than 8 MiB", hint="The limit is 8 MiB")
    data = read_json(decoded(content, "the edited file"), "the edited file")
    if not isinstance(data, dict):
        raise SecretValidationError(
            "the edited file does not hold a JSON object", hint='Keep the form {"field": "value"}'
        )
    return data


def _run_editor(file: Path) -> None:
    """Run the editor, without our keys in its environment; SealflowError where it fails."""
    import subprocess

    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("WORKFLOW_SECRETS_")
    }
    # Ctrl-C is for the editor.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        code = subprocess.run([*command, str(file)], env=environment, check=False).returncode  # noqa: S603 - the user's own editor
    except OSError as error:
        raise SealflowError(
            f"the editor {command[0]} cannot be run ({error.strerror})", hint="Set VISUAL or EDITOR"
        ) from None
    finally:
        signal.signal(signal.SIGINT, before)
    if code:
        raise SealflowError(f"the editor ended with {code}", hint="Nothing was changed; edit again")


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder for us alone, and remove it with all that the editor put there; and those that a crash left."""
    base = _memory_folder()
    _remove_leftovers(base)
    before = signal.signal(signal.SIGTERM, _stop), signal.signal(signal.SIGHUP, _stop)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGHUP, before[1])


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def _memory_folder() -> Path:
    """Return a folder that is in memory, else the system's folder for temporary files, with a warning."""
    for name in (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm"):  # noqa: S108 - a folder in it is made for us alone
        if name and os.path.isabs(name) and os.access(name, os.W_OK | os.X_OK):  # noqa: PTH117
            return Path(name)
    base = Path(tempfile.gettempdir())
    echo(f"sealflow: warning: no folder in memory was found: the file is in {base} while you edit", err=True)
    return base


def _remove_leftovers(base: Path) -> None:
    """Remove the folders of ours that no process holds: a crash left them."""
    for folder in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
            finally:
                os.close(descriptor)
