"""Master keys and passphrases: their text form and their ids. Standard library only.

A master key is ``sfk1_`` + base64url (no padding) of 32 bytes and a 4-byte checksum, or exactly 64 hex
digits. Anything else is refused, and never guessed to be a passphrase.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from typing import NoReturn

from sealflow.errors import InvalidMasterKeyError, without_locals
from sealflow.model.stored import Kek

PREFIX = "sfk1_"
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{48}")
_HEX = re.compile(r"[0-9a-fA-F]{64}")
FORM = "A master key is 'sfk1_' and 48 characters, or 64 hex digits; make one with `sealflow key generate`"


class KeyMaterial:
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


class MasterKey(KeyMaterial):
    """32 bytes that encrypt DEKs. ``source`` says where it came from, for messages."""

    __slots__ = ()

    @classmethod
    @without_locals
    def parse(cls, text: str, source: str) -> MasterKey:
        """Read the text form; raise InvalidMasterKeyError, which never repeats the text."""
        text = text.strip()
        if _HEX.fullmatch(text):
            return cls(bytes.fromhex(text), source)
        body = text.removeprefix(PREFIX)
        if body == text or not _BASE64URL.fullmatch(body):
            raise InvalidMasterKeyError(f"{source} does not hold a master key", hint=FORM)
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


class Passphrase(KeyMaterial):
    """Text that scrypt turns into a KEK, with the salt and parameters that the store keeps."""

    __slots__ = ()


KeySource = MasterKey | Passphrase

WAY_OUT = (
    "Get such a key from another machine or from your copy of it, or give the recovery key in its place; "
    "without one of them the secrets cannot be read. See `sealflow help rotate-keys`"
)
"""What to do when the key of a store that exists is lost."""


def list_keks(keks: Iterable[Kek]) -> str:
    """Return the ids of the master keys that open a store, for a message."""
    kinds = {"recovery": " (recovery key)", "passphrase": " (passphrase)"}
    listed = ", ".join(sorted(f"{kek.kek_id}{kinds.get(kek.kind, '')}" for kek in keks))
    return listed or "none"


def kek_id(raw: bytes) -> str:
    """First 8 bytes of HMAC-SHA256(KEK, label), as hex."""
    return hmac.digest(raw, b"sealflow kek id v1", "sha256")[:8].hex()


def _checksum(raw: bytes) -> bytes:
    return hashlib.sha256(b"sealflow master key v1" + raw).digest()[:4]


@without_locals
def read_passphrase(text: str, source: str) -> Passphrase:
    """Return a passphrase without the line break that ended it; InvalidMasterKeyError under 12 characters."""
    text = text.rstrip("\r\n")
    if len(text) < 12:
        raise InvalidMasterKeyError(
            f"{source} is shorter than 12 characters", hint="Choose five or more random words"
        )
    return Passphrase(text.encode(), source)
