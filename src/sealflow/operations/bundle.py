"""Portable bundles: secrets under a passphrase, from one environment to another with another master key.

One JSON object: the scrypt parameters, and an envelope with the newest version of each secret and its metadata. Who has
the file and the passphrase has the secrets. A bundle is for moving secrets, and a backup is for keeping them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sealflow.audit import Event
from sealflow.crypto import envelope
from sealflow.crypto.kek import new_kek, open_kek
from sealflow.crypto.master_key import Passphrase
from sealflow.errors import (
    DamagedRecordError,
    InvalidMasterKeyError,
    SecretExistsError,
    StoreUnavailableError,
    TamperedError,
    without_locals,
)
from sealflow.model import times
from sealflow.model.json_value import canonical
from sealflow.model.stored import Kek
from sealflow.service.access import access_of
from sealflow.service.drafts import Draft
from sealflow.service.secret_service import SecretService
from sealflow.stores.documents import parse, read_object, typed
from sealflow.stores.folder import Folder
from sealflow.stores.private_files import check_new

FORMAT = 1
_MAX_BYTES = 1 << 30
_HINT = "Export it again"
_METADATA = ("description", "tags", "expires_at", "allowed_hosts", "allowed_workflows")

OnExisting = Literal["refuse", "skip", "update"]


class Imported(NamedTuple):
    """Names of what was made, given a new version, and left as it was."""

    created: tuple[str, ...]
    updated: tuple[str, ...]
    skipped: tuple[str, ...]


@without_locals
def export_bundle(
    service: SecretService, path: Path, passphrase: Passphrase, names: Iterable[str] | None = None
) -> int:
    """Write ``names``, or all secrets, to the new file ``path``; return how many.

    Raises SecretNotFoundError, and StoreUnavailableError when ``path`` exists.
    """
    check_new(path)
    wanted = [info.name for info in service.list_secrets()] if names is None else sorted(set(names))
    content = []
    for name in wanted:
        secret = service.get_secret(name)
        described = secret.info.to_dict()
        content.append(
            {
                "name": name,
                "type": secret.type,
                "data": secret.data,
                "public_fields": list(secret.public_fields),
                **{key: described[key] for key in _METADATA},
            }
        )
    opened, kek = new_kek(passphrase, times.to_text(times.now()))
    sealed = opened.seal_bundle(canonical({"secrets": content}).encode())
    document = {
        "sealflow_bundle": FORMAT,
        "scrypt": kek.params,
        "sealed": base64.b64encode(sealed).decode(),
    }
    path = path.absolute()
    Folder(path.parent).write(path.name, (canonical(document) + "\n").encode())
    access_of(service).record(Event("export", [(name, None, "local") for name in wanted]), now=True)
    return len(wanted)


@without_locals
def import_bundle(
    service: SecretService, path: Path, passphrase: Passphrase, on_existing: OnExisting = "refuse"
) -> Imported:
    """Take the secrets of a bundle into the store, all of them or none.

    ``on_existing``: what to do with a name that is in use: ``refuse`` (SecretExistsError), ``skip`` it, or ``update`` it.
    Raises InvalidMasterKeyError for a wrong passphrase, DamagedRecordError for a file that is not a bundle.
    """
    drafts = [
        Draft.build(
            item["name"],
            item["type"],
            item["data"],
            public_fields=item.get("public_fields"),  # a bundle of an earlier release has none
            **{key: item[key] for key in _METADATA},
        )
        for item in _read(path, passphrase)
    ]
    created, updated, skipped = [], [], []
    access = access_of(service)
    with access.registry.transaction() as transaction:
        access.cipher.refresh()
        for draft in drafts:
            old = transaction.load(draft.name)
            if old is None or old.deleted_at is not None:
                created.append(access.save_draft(transaction, draft, old))
            elif on_existing == "update":
                updated.append(access.save_draft(transaction, draft, old))
            else:
                skipped.append(draft.name)
        if skipped and on_existing == "refuse":
            raise SecretExistsError(
                f"the store already has secrets with these names: {', '.join(skipped[:10])}",
                hint="Give --skip-existing, or --update for new versions; nothing was imported",
                secret=skipped[0],
            )
    for action, infos in (("create", created), ("update", updated)):
        if infos:
            access.record(Event(action, [(info.name, info.version, "local") for info in infos]), now=True)
    return Imported(
        tuple(info.name for info in created), tuple(info.name for info in updated), tuple(skipped)
    )


def _read(path: Path, passphrase: Passphrase) -> list[dict[str, Any]]:
    try:
        content = Folder(path.absolute().parent).read(path.name, _MAX_BYTES)
    except FileNotFoundError:
        raise StoreUnavailableError(f"{path} does not exist", hint="Correct the path") from None
    document = parse(path, _HINT, read_object, content)
    version = parse(path, _HINT, _version, document)
    if version != FORMAT:
        raise StoreUnavailableError(
            f"{path} is a bundle of format {version}, and this sealflow knows {FORMAT}",
            hint="Update sealflow",
        )
    kek, sealed = parse(path, _HINT, _sealed, document)
    opened = open_kek(kek, passphrase)
    if opened is None:
        raise InvalidMasterKeyError(
            f"the passphrase does not open {path}", hint="Give the one that it was exported with"
        )
    plaintext = None
    with suppress(TamperedError):
        plaintext = opened.unseal_bundle(sealed)
    if plaintext is None:
        raise DamagedRecordError(f"{path} was changed since it was exported", hint=_HINT)
    secrets: list[dict[str, Any]] = json.loads(plaintext)["secrets"]
    return secrets


def _version(document: dict[str, Any]) -> int:
    return int(typed(document.get("sealflow_bundle"), int))


def _sealed(document: dict[str, Any]) -> tuple[Kek, bytes]:
    """Return the key that the passphrase must give, and what it opens."""
    sealed = base64.b64decode(document["sealed"], validate=True)
    return Kek(envelope.read_header(sealed).key_id.hex(), "passphrase", dict(document["scrypt"]), ""), sealed
