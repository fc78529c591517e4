"""The file store's journal: a transaction of several documents is on the disk as a whole before the first of them changes.

Whoever comes next finishes what a killed writer left, but only after the master key has vouched for it: a journal that
somebody put into the storage changes nothing. docs/decisions/0011-planted-storage.md says why.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sealflow.errors import (
    DamagedRecordError,
    StoreFullError,
    StoreUnavailableError,
    TamperedError,
    WrongMasterKeyError,
)
from sealflow.model.json_value import canonical
from sealflow.model.stored import KeyringDocument
from sealflow.stores.documents import parse, read_keyring, read_object, typed
from sealflow.stores.folder import Folder
from sealflow.stores.registry import JournalSeal

JOURNAL = "journal.json"
FORMAT = 2  # 1 had no seal
_MAX_BYTES = 512 << 20
_HINT = "Remove it: without the key's seal nothing of it is applied. Then look at the store with `sealflow doctor`"


class _Written(NamedTuple):
    """What a journal says: each file's new content by its name, None being removal; its keyring, if it has one."""

    files: dict[str, str | None]
    keyring: KeyringDocument | None
    seal: bytes


class Journal:
    """The journal of one directory; the caller holds the store's lock while it finishes or commits."""

    def __init__(self, folder: Folder, keyring: str, records: Folder) -> None:
        self._folder = folder
        self._keyring = keyring
        self._records = records
        self._allowed = re.compile(
            rf"{re.escape(keyring)}|{re.escape(records.path.name)}/[0-9a-f]{{40}}\.json"
        )
        self._path = folder.path / JOURNAL
        self._seal: JournalSeal | None = None

    def vouch_with(self, seal: JournalSeal) -> None:
        """Take what makes and checks the seal."""
        self._seal = seal

    def is_there(self) -> bool:
        """Return whether there is one, even if it is damaged."""
        return self._folder.status(JOURNAL) is not None

    def problems(self) -> list[str]:
        """Say that a write was interrupted, where one was."""
        return [f"{self._path} is a write that was interrupted"] if self.is_there() else []

    def finish(self, keyring: Callable[[], KeyringDocument], *, writable: bool = True) -> None:
        """Do again what a writer had written down and was killed doing.

        ``keyring`` reads the store's; it is asked for where the journal holds none. Raises StoreUnavailableError where
        the key is not at hand or the directory is read-only, TamperedError where the key does not vouch for it.
        """
        try:
            content = self._folder.read(JOURNAL, _MAX_BYTES)
        except FileNotFoundError:
            return
        if self._seal is None:
            raise StoreUnavailableError(
                f"{self._path} is a write that was interrupted, and finishing it needs the master key",
                hint="Configure the master key and use the store once, for example `sealflow secret get NAME`",
            )
        written = parse(self._path, _HINT, self._read, content)
        self._check(self._seal, written, written.keyring or keyring())
        if not writable:
            raise StoreUnavailableError(
                f"{self._path} is a write that was interrupted, and {self._folder.path} is read-only",
                hint="Open the store once where it is writable",
            )
        self._apply(written.files)
        self._folder.remove(JOURNAL)

    def commit(self, files: Mapping[str, str | None], keyring: Callable[[], KeyringDocument]) -> None:
        """Bring files to a new content, all or none of them even when the process is killed.

        ``keyring`` gives the one that holds after it.

        Without a seal several files are changed one after the other: so are only the stores that are still being built.
        """
        if len(files) > 1 and self._seal is not None:
            seal = self._seal.make(keyring(), canonical(files).encode())
            document = {"format": FORMAT, "files": files, "seal": base64.b64encode(seal).decode()}
            content = canonical(document).encode()
            if len(content) > _MAX_BYTES:
                raise StoreFullError(
                    f"one change of {len(content)} bytes is more than the file store can make at once",
                    hint="Use the SQLite store; nothing was changed",
                )
            self._folder.write(JOURNAL, content)
            self._apply(files)
            self._folder.remove(JOURNAL)
        else:
            self._apply(files)

    def _check(self, seal: JournalSeal, written: _Written, keyring: KeyringDocument) -> None:
        problem = ""
        try:
            seal.check(keyring, canonical(written.files).encode(), written.seal)
        except (TamperedError, DamagedRecordError, WrongMasterKeyError) as error:
            problem = error.message
        if problem:
            raise TamperedError(
                f"{self._path} was not written with the master key that is configured, and nothing of it was applied ({problem})",
                hint="Configure the key that was in use, if a restore was interrupted; otherwise find out who can write to the store, and remove the file",
            )

    def _read(self, content: bytes) -> _Written:
        document = read_object(content)
        files: dict[str, Any] = document["files"]
        if document["format"] != FORMAT or not all(self._allowed.fullmatch(name) for name in files):
            raise ValueError("it names files that are not the store's")
        for text in files.values():
            typed(text, str, type(None))
        keyring = files.get(self._keyring)
        return _Written(
            files,
            None if keyring is None else read_keyring(read_object(keyring)),
            base64.b64decode(document["seal"], validate=True),
        )

    def _apply(self, files: Mapping[str, str | None]) -> None:
        """Write the files, the keyring first: a record is never there before the key that opens it."""
        for name in sorted(files, key=lambda item: item != self._keyring):
            folder = self._folder if name == self._keyring else self._records
            text, entry = files[name], name.rpartition("/")[2]
            if text is None:
                folder.remove(entry)
            else:
                folder.write(entry, text.encode())
