"""Changes to a keyring: each takes the document and gives the next one; nothing is stored here.

No record is touched by any of them. A master key is added by wrapping the store keys (DEKs) with it too, so that readers
with the old one and with the new one work at the same time; it is removed by removing its wraps.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Sequence

from sealflow.crypto import envelope
from sealflow.crypto.kek import OpenedKek, RecoveryKek, new_kek, open_kek, recovery_public
from sealflow.crypto.keyring import Keyring, new_dek
from sealflow.crypto.master_key import KeySource, MasterKey
from sealflow.errors import InvalidMasterKeyError, MissingMasterKeyError, TamperedError
from sealflow.model import times
from sealflow.model.stored import Dek, Kek, KeyringDocument
from sealflow.wording import shown


def with_key(document: KeyringDocument, keyring: Keyring, source: KeySource) -> tuple[KeyringDocument, Kek]:
    """Let another master key open the store. Raises InvalidMasterKeyError for one that does already."""
    opened, kek = new_kek(source, times.to_text(times.now()))
    _refuse_known(document, kek.kek_id)
    return _with_kek(document, keyring, opened, kek), kek


def with_recovery_key(
    document: KeyringDocument, keyring: Keyring, key: MasterKey
) -> tuple[KeyringDocument, Kek]:
    """Let ``key`` open the store as a recovery key: only its public half stays, and later DEKs are wrapped for it too."""
    _refuse_known(document, key.kek_id)
    public = recovery_public(key.reveal())
    params = _sealed_public(public, keyring, keyring.active_id.hex(), key.kek_id)
    kek = Kek(key.kek_id, "recovery", params, times.to_text(times.now()))
    return _with_kek(document, keyring, RecoveryKek(key.kek_id, public), kek), kek


def without_key(document: KeyringDocument, kek_id: str) -> KeyringDocument:
    """Stop a master key from opening the store.

    Raises InvalidMasterKeyError for one that the store does not know, and for the last one that is not a recovery key.
    """
    if kek_id not in {kek.kek_id for kek in document.keks}:
        known = ", ".join(kek.kek_id for kek in document.keks)
        raise InvalidMasterKeyError(
            f"the store does not know the master key {shown(kek_id)}", hint=f"Give the id of one of: {known}"
        )
    left = tuple(kek for kek in document.keks if kek.kek_id != kek_id)
    if all(kek.kind == "recovery" for kek in left):
        raise InvalidMasterKeyError(
            f"the master key {kek_id} is the last one that opens this store",
            hint="Add another with `sealflow key add` first; a recovery key does not count",
        )
    wraps = tuple(wrap for wrap in document.wraps if wrap.kek_id != kek_id)
    return KeyringDocument(document.deks, wraps, left)


def with_new_dek(
    document: KeyringDocument, keyring: Keyring, sources: Sequence[KeySource]
) -> KeyringDocument:
    """Make a new active DEK; the old one still decrypts.

    It is wrapped for every master key of the store: a recovery key needs not be there for that, the others must be
    among ``sources``. Raises MissingMasterKeyError naming those that are not, TamperedError for a public key that was
    exchanged in the store.
    """
    opened, missing = [], []
    for kek in document.keks:
        found = _recovery(kek, keyring) if kek.kind == "recovery" else _opened(kek, sources)
        if found is None:
            missing.append(kek.kek_id)
        else:
            opened.append(found)
    if missing:
        raise MissingMasterKeyError(
            f"a new store key must be wrapped for every master key, and {', '.join(missing)} is not configured",
            hint="Set WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS to it, or remove it with `sealflow key remove`",
        )
    dek_id, dek = new_dek()
    deks = tuple(
        item._replace(state="decrypt_only") if item.state == "active" else item for item in document.deks
    )
    wraps = tuple(item.wrap(dek, keyring.store_id, dek_id) for item in opened)
    return KeyringDocument(
        (*deks, Dek(dek_id, "active", times.to_text(times.now()))), (*document.wraps, *wraps), document.keks
    )


def without_unused_deks(
    document: KeyringDocument, keyring: Keyring, used: Collection[str]
) -> KeyringDocument:
    """Destroy the old DEKs that no record needs any more: their wraps are removed, their ids stay."""
    gone = {dek.dek_id for dek in document.deks if dek.state == "decrypt_only" and dek.dek_id not in used}
    if not gone:
        return document
    keks = []
    for kek in document.keks:
        recovery = _recovery(kek, keyring)
        if recovery is not None:  # what proves its public key must outlive the DEK that did so far
            params = _sealed_public(recovery.public, keyring, keyring.active_id.hex(), kek.kek_id)
            kek = kek._replace(params=params)  # noqa: PLW2901
        keks.append(kek)
    return KeyringDocument(
        tuple(dek._replace(state="destroyed") if dek.dek_id in gone else dek for dek in document.deks),
        tuple(wrap for wrap in document.wraps if wrap.dek_id not in gone),
        tuple(keks),
    )


def _refuse_known(document: KeyringDocument, kek_id: str) -> None:
    if kek_id in {kek.kek_id for kek in document.keks}:
        raise InvalidMasterKeyError(
            f"the master key {kek_id} opens this store already", hint="Give another one"
        )


def _with_kek(document: KeyringDocument, keyring: Keyring, opened: OpenedKek, kek: Kek) -> KeyringDocument:
    wraps = [
        opened.wrap(keyring.dek(dek.dek_id), keyring.store_id, dek.dek_id)
        for dek in document.deks
        if dek.state != "destroyed"
    ]
    return KeyringDocument(document.deks, (*document.wraps, *wraps), (*document.keks, kek))


def _opened(kek: Kek, sources: Sequence[KeySource]) -> OpenedKek | None:
    return next((found for source in sources if (found := open_kek(kek, source)) is not None), None)


def _sealed_public(public: bytes, keyring: Keyring, dek_id: str, kek_id: str) -> dict[str, str]:
    """Return a public key sealed with a DEK: who can only write to the store cannot put another in its place."""
    context = (keyring.store_id.encode(), bytes.fromhex(kek_id))
    sealed = envelope.seal(
        keyring.dek(dek_id), bytes.fromhex(dek_id), public, context, envelope.RECOVERY_PUBLIC
    )
    return {"public_key": base64.b64encode(sealed).decode()}


def _recovery(kek: Kek, keyring: Keyring) -> RecoveryKek | None:
    """Return a recovery key's public half as the keyring's own DEK vouches for it; None for other kinds."""
    if kek.kind != "recovery":
        return None
    try:
        sealed = base64.b64decode((kek.params or {})["public_key"], validate=True)
        dek = keyring.dek(envelope.read_header(sealed).key_id.hex())
    except (KeyError, TypeError, binascii.Error):
        dek = None
    if dek is None:
        raise TamperedError(
            f"the recovery key {kek.kek_id} is not the one that was added", hint="Remove it and add a new one"
        )
    context = (keyring.store_id.encode(), bytes.fromhex(kek.kek_id))
    return RecoveryKek(kek.kek_id, envelope.unseal(dek, sealed, context, envelope.RECOVERY_PUBLIC))
