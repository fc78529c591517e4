"""The metadata of secrets, which is stored in clear text, read from stored records."""

from __future__ import annotations

from collections.abc import Iterable

from sealflow.errors import DamagedRecordError
from sealflow.model import times
from sealflow.model.names import BUILT_IN_TYPES, canonical_type
from sealflow.model.policy import Policy
from sealflow.model.secret import SecretInfo, SecretMetadata
from sealflow.model.stored import StoredRecord, StoredSecret
from sealflow.service.drafts import checked_tags
from sealflow.stores.registry import SecretRegistry


def list_infos(
    registry: SecretRegistry,
    type: str | None = None,  # noqa: A002
    tags: Iterable[str] = (),
) -> list[SecretInfo]:
    """List a store without its master key."""
    if type is not None:
        type = canonical_type(type)  # noqa: A001
        if type not in BUILT_IN_TYPES:
            from sealflow.model.types import type_model

            type_model(type)
    return [info_of(record) for record in registry.find(type, checked_tags(tags))]


def read_policy(text: str, name: str) -> Policy:
    try:
        return Policy.from_text(text)
    except (ValueError, TypeError):
        pass
    raise DamagedRecordError(
        f"the policy of the secret {name!r} is damaged", hint="Restore a backup", secret=name
    )


def info_of(record: StoredRecord) -> SecretInfo:
    policy = read_policy(record.policy, record.name)
    try:
        created, updated = times.from_text(record.created_at), times.from_text(record.updated_at)
    except (ValueError, TypeError):
        created = None
    if created is None:
        raise DamagedRecordError(
            f"a time of the secret {record.name!r} is damaged", hint="Restore a backup", secret=record.name
        )
    metadata = SecretMetadata(record.description, record.tags, created, updated, policy)
    return SecretInfo(record.id, record.name, record.type, record.version, metadata)


def stored_info(secret: StoredSecret) -> SecretInfo:
    current = secret.current
    return info_of(StoredRecord(*secret[:6], current.version, current.type, current.policy, None))
