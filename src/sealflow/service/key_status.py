"""What keys a store has and what they are used for: read without a master key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sealflow.crypto import envelope
from sealflow.crypto.master_key import KeySource, MasterKey
from sealflow.model.stored import StoredSecret
from sealflow.stores.registry import SecretRegistry


def dek_uses(secrets: Iterable[StoredSecret]) -> Counter[str]:
    """Return how many records each store key seals, by its id."""
    return Counter(
        envelope.key_id(kept.record).hex()
        for secret in secrets
        for kept in secret.versions
        if kept.record is not None
    )


def key_status(registry: SecretRegistry, sources: Iterable[KeySource]) -> dict[str, Any]:
    """Return the JSON shape of ``sealflow key status``; a passphrase among ``sources`` is not tried."""
    with registry.snapshot() as snapshot:
        document, uses = snapshot.keyring, dek_uses(snapshot.secrets)
    configured = {source.kek_id for source in sources if isinstance(source, MasterKey)}
    return {
        "master_keys": [
            {
                "id": kek.kek_id,
                "kind": kek.kind,
                "created_at": kek.created_at,
                "configured": kek.kek_id in configured,
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
