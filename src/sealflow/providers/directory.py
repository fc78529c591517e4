"""Secrets from a mounted folder, as Kubernetes and Docker give them: ``NAME/FIELD``, or one file ``NAME`` as ``value``."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import ClassVar

from sealflow.errors import ProviderDeniedError, ProviderMalformedError, ProviderUnavailableError
from sealflow.providers.base import ExternalSecretProvider
from sealflow.providers.options import FilePath, ProviderOptions, Reveal
from sealflow.providers.own_files import is_own_file
from sealflow.wording import shown

_MAX_BYTES = 1 << 20


class DirectoryOptions(ProviderOptions):
    path: FilePath


class DirectoryProvider(ExternalSecretProvider):
    """Reads the files when asked, so that what Kubernetes puts in their place is seen."""

    Options: ClassVar[type[ProviderOptions]] = DirectoryOptions

    def __init__(self, name: str, options: DirectoryOptions, reveal: Reveal, timeout: float) -> None:
        super().__init__(name, options, reveal, timeout)
        self._root = Path(options.path)

    async def get_secret(self, name: str) -> dict[str, str] | None:
        return await asyncio.to_thread(self._read, name)

    async def check(self) -> None:
        await asyncio.to_thread(self._check)

    def _check(self) -> None:
        if not self._root.is_dir():
            raise ProviderUnavailableError(
                f"there is no directory {self._root}", hint="Mount it, or correct its path"
            )

    def _read(self, name: str) -> dict[str, str] | None:
        self._check()
        path = self._root / name
        # Kubernetes' links stay below the folder; a name that leads elsewhere is refused.
        if (
            "\0" in name
            or not path.resolve().is_relative_to(self._root.resolve())
            or path.resolve() == self._root.resolve()
        ):
            raise ProviderMalformedError(
                f"{shown(name)} leads out of {self._root}", hint="Correct the name", secret=name
            )
        if is_own_file(path):
            raise ProviderDeniedError(
                f"{path} belongs to sealflow itself, and is never a secret's value",
                hint="Correct the provider's path",
                secret=name,
            )
        try:
            if path.is_dir():
                fields = {
                    item.name: _text(item)
                    for item in sorted(path.iterdir())
                    if not item.name.startswith(".") and item.is_file() and not is_own_file(item, item.stat())
                }
                return fields or None
            return {"value": _text(path)} if path.is_file() and not is_own_file(path, path.stat()) else None
        except PermissionError:
            reason = None
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ENOENT):
                return None
            reason = error.strerror
        if reason is not None:
            raise ProviderUnavailableError(
                f"{path} cannot be read ({reason})", hint="Look at the mount", secret=name
            )
        raise ProviderDeniedError(
            f"{path} may not be read by this user", hint="Give the user the right to read it", secret=name
        )


def _text(path: Path) -> str:
    content = path.read_bytes()
    reason = "is larger than 1 MiB" if len(content) > _MAX_BYTES else None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text, reason = "", "is not UTF-8"
    if reason is not None:
        raise ProviderMalformedError(f"{path} {reason}", hint="Write bytes as base64")
    bare = text.removesuffix("\n").removesuffix("\r")
    return text if "\n" in bare else bare  # one line: its line break is the editor's, not the secret's
