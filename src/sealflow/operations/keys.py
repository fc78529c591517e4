"""Changing the keys of a store: master keys are added and removed, store keys rotated, and records encrypted again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from sealflow.audit import key_event
from sealflow.crypto import envelope, key_changes
from sealflow.crypto.master_key import KeySource, MasterKey
from sealflow.errors import DamagedRecordError, InvalidMasterKeyError, TamperedError, without_locals
from sealflow.model.stored import StoredSecret
from sealflow.service.access import access_of
from sealflow.service.secret_service import SecretService
from sealflow.stores.registry import SecretRegistry

BATCH = 100
Progress = Callable[[int, int], None]
"""Called with how many secrets are done, and how many there are to do."""


class Reencrypted(NamedTuple):
    """How many secrets were sealed again, and the names of those that cannot be decrypted."""

    done: int
    damaged: tuple[str, ...]


class StoreKeys:
    """Changes the keys of an open store. Every change is one transaction: a kill leaves the old keyring or the new."""

    def __init__(self, service: SecretService) -> None:
        self._access = access_of(service)
        self._registry = self._access.registry
        self._cipher = self._access.cipher

    @without_locals
    def add(self, source: KeySource) -> str:
        """Let another master key, or a passphrase, open the store too; return its id. No record is rewritten."""
        with self._registry.transaction() as transaction:
            document, kek = key_changes.with_key(self._cipher.refresh(), self._cipher.keyring, source)
            transaction.save_keyring(document)
        self._changed("key_add", kek.kek_id)
        return kek.kek_id

    @without_locals
    def add_recovery(self) -> MasterKey:
        """Make a recovery key and return it, the only time that it can be seen; it opens the store as a master key does."""
        key = MasterKey.generate()
        with self._registry.transaction() as transaction:
            document, kek = key_changes.with_recovery_key(self._cipher.refresh(), self._cipher.keyring, key)
            transaction.save_keyring(document)
        self._changed("key_add", kek.kek_id)
        return key

    @without_locals
    def remove(self, kek_id: str) -> None:
        """Stop a master key from opening the store.

        Raises InvalidMasterKeyError for an unknown one, the last one, and the one that this service was opened with.
        """
        with self._registry.transaction() as transaction:
            document = key_changes.without_key(self._cipher.refresh(), kek_id)
            if kek_id == self._cipher.keyring.kek_id:
                raise InvalidMasterKeyError(
                    f"the master key {kek_id} is the one that is configured here",
                    hint="First configure another key that opens the store (`sealflow key use FILE`), so that you are not "
                    "locked out",
                )
            transaction.save_keyring(document)
        self._changed("key_remove", kek_id)

    @without_locals
    def rotate_dek(self) -> str:
        """Make a new store key that seals from now on; return its id. The old ones still decrypt: see ``reencrypt``."""
        with self._registry.transaction() as transaction:
            document = key_changes.with_new_dek(
                self._cipher.refresh(), self._cipher.keyring, self._cipher.sources
            )
            transaction.save_keyring(document)
        dek_id = next(dek.dek_id for dek in document.deks if dek.state == "active")
        self._changed("dek_rotate", dek_id)
        return dek_id

    @without_locals
    def reencrypt(self, progress: Progress | None = None) -> Reencrypted:
        """Seal every record with the active store key, then destroy the old store keys.

        May be killed anywhere and run again: what is already sealed again stays so, and the old keys go last of all. A secret that
        cannot be decrypted is left as it is, with the key that it names, and is in the result.
        """
        self._cipher.refresh()
        active = self._cipher.keyring.active_id
        with self._registry.snapshot() as snapshot:
            names = [item.name for item in snapshot.secrets if _needs(item, active)]
        damaged: list[str] = []
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            with self._registry.transaction() as transaction:
                self._cipher.refresh()
                for name in batch:
                    secret = transaction.load(name)
                    try:
                        if secret is not None:
                            transaction.save(self._reseal(secret))
                    except (TamperedError, DamagedRecordError):
                        damaged.append(name)
            if progress is not None:
                progress(start + len(batch), len(names))
        with self._registry.transaction() as transaction:
            document = self._cipher.refresh()
            with self._registry.snapshot() as snapshot:
                used = dek_uses(snapshot.secrets)
            left = key_changes.without_unused_deks(document, self._cipher.keyring, used.keys())
            if left != document:
                transaction.save_keyring(left)
        self._changed("reencrypt", self._cipher.keyring.active_id.hex())
        return Reencrypted(len(names) - len(damaged), tuple(damaged))

    def _reseal(self, secret: StoredSecret) -> StoredSecret:
        versions = []
        for kept in secret.versions:
            record = kept.record
            if record is not None and envelope.key_id(record) != self._cipher.keyring.active_id:
                place = secret.place(kept)
                record = self._cipher.seal(place, envelope.unpadded(self._cipher.open(place, record)))
            versions.append(kept._replace(record=record))
        return secret._replace(versions=tuple(versions))

    def _changed(self, action: str, key_id: str) -> None:
        self._cipher.refresh()
        self._access.record(key_event(action, key_id), now=True)


def _needs(secret: StoredSecret, active: bytes) -> bool:
    return any(kept.record is not None and envelope.key_id(kept.record) != active for kept in secret.versions)


def dek_uses(secrets: Iterable[StoredSecret]) -> Counter[str]:
    """Return how many records each store key seals, by its id."""
    return Counter(
        envelope.key_id(kept.record).hex()
        for secret in secrets
        for kept in secret.versions
        if kept.record is not None
    )


def describe_keys(registry: SecretRegistry, sources: Iterable[KeySource]) -> dict[str, Any]:
    """Return the JSON shape of ``sealflow key status``; a passphrase among ``sources`` is not tried."""
    with registry.snapshot() as snapshot:
        document, uses = snapshot.keyring, dek_uses(snapshot.secrets)
    configured = {source.kek_id: source.source for source in sources if isinstance(source, MasterKey)}
    return {
        "master_keys": [
            {
                "id": kek.kek_id,
                "kind": kek.kind,
                "created_at": kek.created_at,
                "configured": kek.kek_id in configured,
                "source": configured.get(kek.kek_id),
            }
            for kek in document.keks
        ],
        "store_keys": [
            {
                "id": dek.dek_id,
                "state": dek.state,
                "created_at": dek.created_at,
                "records": uses[dek.dek_id],
            }
            for dek in document.deks
        ],
    }
