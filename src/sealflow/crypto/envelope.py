"""The record format: one encrypted blob, bound to what it is and where it belongs.

::

    magic "SFL" + 0x01 (4) | key id (8) | salt (32) | nonce (12) | commitment (32) | ciphertext + tag (16)

A fresh key for each record by HKDF-SHA256 from the DEK and the salt (as Kubernetes KMS v2 does): each AES key
encrypts once, so no nonce needs counting. Bytes 32-63 of the HKDF output commit to the key (AES-GCM alone
does not: https://eprint.iacr.org/2019/016). docs/reference/record-format.md is the page of this module.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sealflow.errors import DamagedRecordError, TamperedError

MAGIC = b"SFL\x01"
KEY_BYTES = 32
KEY_ID_BYTES = 8
HEADER_BYTES = 88
OVERHEAD = HEADER_BYTES + 16
BLOCK = 64

RECORD = b"sealflow record v1"
KEY_WRAP = b"sealflow key wrap v1"
RECOVERY_WRAP = b"sealflow recovery wrap v1"
RECOVERY_PUBLIC = b"sealflow recovery public key v1"
BUNDLE = b"sealflow bundle v1"

_SHA256 = SHA256()
# The length prefixes of all usual parts, computed once because every read needs them.
_LENGTHS = tuple(struct.pack(">I", length) for length in range(256))


Derive = Callable[[bytes, bytes, bytes], tuple[bytes, bytes]]


class Header(NamedTuple):
    """The clear part of a blob."""

    key_id: bytes
    salt: bytes
    nonce: bytes
    commitment: bytes


def read_header(blob: bytes) -> Header:
    """Split a blob's header; raise DamagedRecordError when it is too short or not one of ours."""
    if len(blob) < OVERHEAD:
        raise DamagedRecordError("a record is too short", hint="Restore it from a backup")
    if blob[:3] != MAGIC[:3]:
        raise DamagedRecordError(
            "a record does not begin like a record of sealflow", hint="Restore it from a backup"
        )
    if blob[:4] != MAGIC:
        raise DamagedRecordError(f"a record has the unknown format {blob[3]}", hint="Update sealflow")
    return Header(blob[4:12], blob[12:44], blob[44:56], blob[56:88])


def key_id(blob: bytes) -> bytes:
    """Return the 8-byte id of the key that sealed ``blob``, unchecked: use ``read_header`` to check the blob."""
    return blob[4:12]


def associated_data(header: bytes, context: Sequence[bytes]) -> bytes:
    """Bind header and context into the encryption; every part behind its length (4 bytes, big-endian)."""
    parts = (header, *context)
    try:
        return b"".join([piece for part in parts for piece in (_LENGTHS[len(part)], part)])
    except IndexError:
        return b"".join([piece for part in parts for piece in (struct.pack(">I", len(part)), part)])


def derived(key: bytes, salt: bytes, purpose: bytes) -> tuple[bytes, bytes]:
    """Return a record's key and its commitment, 32 bytes each."""
    output = HKDF(_SHA256, 64, salt, purpose).derive(key)
    return output[:32], output[32:]


def seal(
    key: bytes, key_id: bytes, plaintext: bytes, context: Sequence[bytes], purpose: bytes = RECORD
) -> bytes:
    """Encrypt; ``key`` is 32 bytes, ``key_id`` 8, ``context`` what the blob is bound to."""
    salt, nonce = os.urandom(32), os.urandom(12)
    record_key, commitment = derived(key, salt, purpose)
    header = MAGIC + key_id + salt + nonce + commitment
    return header + AESGCM(record_key).encrypt(nonce, plaintext, associated_data(header, context))


def unseal(
    key: bytes, blob: bytes, context: Sequence[bytes], purpose: bytes = RECORD, derive: Derive = derived
) -> bytes:
    """Decrypt; raise TamperedError for another key or context, or any changed bit behind the magic.

    ``derive`` replaces ``derived``, for a caller that caches its results.
    """
    if len(blob) < OVERHEAD or blob[:4] != MAGIC:
        read_header(blob)  # raises, and says why
    nonce, committed = blob[44:56], blob[56:88]
    record_key, commitment = derive(key, blob[12:44], purpose)
    plaintext = None
    if hmac.compare_digest(commitment, committed):
        try:
            plaintext = AESGCM(record_key).decrypt(
                nonce, blob[HEADER_BYTES:], associated_data(blob[:HEADER_BYTES], context)
            )
        except InvalidTag:
            plaintext = None
    if plaintext is None:
        raise TamperedError(
            "a record does not fit its place: it was changed, moved or replayed, or its policy was changed",
            hint="Restore it from a backup, and find out who can write to the store",
        )
    return plaintext


def padded(text: bytes) -> bytes:
    """Pad JSON with spaces, which JSON ignores, to a multiple of 64 bytes, so that the length says less of the value."""
    return text + b" " * (-len(text) % BLOCK)


def unpadded(text: bytes) -> bytes:
    """Return the JSON without its padding."""
    return text.rstrip(b" ")
