"""Master keys (KEKs): their text form, their ids, and where they are looked for. Standard library only.

A master key is ``sfk1_`` + base64url (no padding) of 32 bytes and a 4-byte checksum, or exactly 64 hex
digits. Anything else is refused, and never guessed to be a passphrase.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from pathlib import Path
from typing import NoReturn

from sealflow import settings
from sealflow.crypto.key_file import default_key_file, read_key_file
from sealflow.errors import InvalidMasterKeyError, MissingMasterKeyError

PREFIX = "sfk1_"
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{48}")
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_FORM = "A master key is 'sfk1_' and 48 characters, or 64 hex digits; make one with `sealflow key generate`"


class Sealed:
    """Bytes that are neither printed, copied nor pickled."""

    __slots__ = ("_raw", "source")

    def __init__(self, raw: bytes, source: str) -> None:
        self._raw = raw
        self.source = source

    def reveal(self) -> bytes:
        return self._raw

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***, from {self.source})"

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError("keys are not copied or pickled")

    __reduce__ = _refuse
    __reduce_ex__ = _refuse
    __copy__ = _refuse
    __deepcopy__ = _refuse


class MasterKey(Sealed):
    """32 bytes that encrypt DEKs. ``source`` says where it came from, for messages."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str, source: str) -> MasterKey:
        """Read the text form; raise InvalidMasterKeyError, which never repeats the text."""
        text = text.strip()
        if _HEX.fullmatch(text):
            return cls(bytes.fromhex(text), source)
        body = text.removeprefix(PREFIX)
        if body == text or not _BASE64URL.fullmatch(body):
            raise InvalidMasterKeyError(f"{source} holds no master key", hint=_FORM)
        raw = base64.urlsafe_b64decode(body)
        if not hmac.compare_digest(_checksum(raw[:32]), raw[32:]):
            raise InvalidMasterKeyError(
                f"the master key in {source} has a wrong checksum",
                hint="A character was lost or changed: copy it again",
            )
        return cls(raw[:32], source)

    @classmethod
    def generate(cls) -> MasterKey:
        """Return a new random key."""
        return cls(os.urandom(32), "a new key")

    def to_text(self) -> str:
        """Return the text form, for a key file or a safe."""
        return PREFIX + base64.urlsafe_b64encode(self._raw + _checksum(self._raw)).decode()

    @property
    def kek_id(self) -> str:
        """16 hex digits that select this key and tell nothing of it."""
        return kek_id(self._raw)


class Passphrase(Sealed):
    """Text that scrypt turns into a KEK, with the salt and parameters that the store keeps."""

    __slots__ = ()


KeySource = MasterKey | Passphrase


def kek_id(raw: bytes) -> str:
    """First 8 bytes of HMAC-SHA256(KEK, label), as hex."""
    return hmac.digest(raw, b"sealflow kek id v1", "sha256")[:8].hex()


def _checksum(raw: bytes) -> bytes:
    return hashlib.sha256(b"sealflow master key v1" + raw).digest()[:4]


def find_master_keys(
    given: str | MasterKey | Passphrase | None, storage: Path, store_id: str | None
) -> tuple[KeySource, ...]:
    """Return the master key, and behind it the previous one where its variable is set.

    The key is the first of: the argument, the variable, the key file named by its variable, the system's keychain, the
    passphrase, the key file that ``sealflow init`` made for this store. Raises MissingMasterKeyError naming them.
    """
    if given is not None:
        return (_given(given),)
    found = _from_environment(storage)
    if found is None and store_id is not None:
        path = default_key_file(store_id)
        if os.path.lexists(path):
            found = MasterKey.parse(read_key_file(path, storage), str(path))
    if found is None:
        raise MissingMasterKeyError(
            f"no master key is configured for the store in {storage}",
            hint=f"Run `sealflow init`, or set {settings.MASTER_KEY} or {settings.MASTER_KEY_FILE}",
        )
    previous = _key_of(settings.MASTER_KEY_PREVIOUS, settings.MASTER_KEY_PREVIOUS_FILE, storage)
    return (found,) if previous is None else (found, previous)


def find_master_key(
    given: str | MasterKey | Passphrase | None, storage: Path, store_id: str | None
) -> KeySource:
    """Return the first of ``find_master_keys``: the one that a new store is made with."""
    return find_master_keys(given, storage, store_id)[0]


def read_passphrase(text: str, source: str) -> Passphrase:
    """Return a passphrase without the line break that ended it; InvalidMasterKeyError under 12 characters."""
    text = text.rstrip("\r\n")
    if len(text) < 12:
        raise InvalidMasterKeyError(
            f"{source} is shorter than 12 characters", hint="Choose five or more random words"
        )
    return Passphrase(text.encode(), source)


def _given(given: str | MasterKey | Passphrase) -> KeySource:
    if isinstance(given, MasterKey | Passphrase):
        return given
    if isinstance(given, str):
        return MasterKey.parse(given, "the argument master_key")
    raise InvalidMasterKeyError(f"the argument master_key is a {type(given).__name__}", hint=_FORM)


def _from_environment(storage: Path) -> KeySource | None:
    found = _key_of(settings.MASTER_KEY, settings.MASTER_KEY_FILE, storage)
    if found is not None:
        return found
    if entry := os.environ.get(settings.MASTER_KEY_KEYCHAIN):
        from sealflow.crypto.keychain import read_keychain

        return read_keychain(entry)
    if text := os.environ.get(settings.PASSPHRASE):
        return read_passphrase(text, settings.PASSPHRASE)
    if path := os.environ.get(settings.PASSPHRASE_FILE):
        return read_passphrase(read_key_file(Path(path).expanduser(), storage), f"the passphrase file {path}")
    return None


def _key_of(variable: str, file_variable: str, storage: Path) -> MasterKey | None:
    if text := os.environ.get(variable):
        return MasterKey.parse(text, variable)
    if path := os.environ.get(file_variable):
        return MasterKey.parse(read_key_file(Path(path).expanduser(), storage), f"the key file {path}")
    return None
