"""SecretService: encrypts on the way into a store and decrypts on the way out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final, Self

from sealflow.audit import AuditLog, Event
from sealflow.crypto.master_key import KeySource
from sealflow.errors import (
    SealflowError,
    SecretExistsError,
    SecretNotFoundError,
    SecretValidationError,
    VersionConflictError,
    without_locals,
)
from sealflow.model import times
from sealflow.model.fields import field_of
from sealflow.model.json_value import copied
from sealflow.model.names import check_secret_name, is_name
from sealflow.model.places import references_in, spelled_path, substituted
from sealflow.model.policy import Policy
from sealflow.model.secret import Secret, SecretData, SecretInfo, SecretVersion
from sealflow.model.stored import StoredSecret, StoredVersion
from sealflow.service.access import StoreAccess
from sealflow.service.describe import info_of, list_infos, read_policy, stored_info
from sealflow.service.drafts import Draft, checked_description, checked_tags
from sealflow.stores.registry import RegistryTransaction, SecretRegistry
from sealflow.wording import closest, shown


class _Unset(Enum):
    UNSET = "unchanged"


UNSET: Final = _Unset.UNSET
"""The default of what ``update_secret`` leaves as it is; None clears."""

_Hosts = Iterable[str] | None


class SecretService:
    """Secrets of one store, opened with one master key. Thread-safe; a context manager."""

    def __init__(
        self, registry: SecretRegistry, sources: Sequence[KeySource], audit: AuditLog | None = None
    ) -> None:
        """Open the keyring with the first of ``sources`` that the store knows; WrongMasterKeyError changes nothing.

        Programs call ``open_service`` instead, which finds the store and its key. The service closes what it is given.
        """
        self._access = StoreAccess(registry, sources, audit)
        self._registry = registry
        self._cipher = self._access.cipher

    def __store_access__(self) -> StoreAccess:
        """Return the open store, for sealflow's own rooms: see ``service/access.py``."""
        return self._access

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SecretService({self.backend}, store={self.store_id})"

    @property
    def backend(self) -> str:
        """The name of the store's backend: ``sqlite``, ``file``, or one of an installed package."""
        return self._registry.backend

    @property
    def store_id(self) -> str:
        """The store's id: 32 hex digits that stay the same when it is moved or restored."""
        return self._registry.store_id

    def close(self) -> None:
        """Close the store and the audit trail; closing twice is fine."""
        self._access.close()

    @without_locals
    def create_secret(
        self,
        name: str,
        type: str,  # noqa: A002 - the name of the thing
        data: SecretData,
        *,
        description: str | None = None,
        tags: Iterable[str] = (),
        expires_at: datetime | str | None = None,
        allowed_hosts: _Hosts = None,
        allowed_workflows: _Hosts = None,
        allow_short: bool = True,
        public_fields: Iterable[str] | None = None,
    ) -> SecretInfo:
        """Store a new secret and return it without its data.

        ``allow_short=False`` refuses values of under 4 characters, which cannot be masked, as the command line does.
        ``public_fields`` names the fields of a custom secret that are not confidential; for another type it can name fewer
        than the type does.

        Raises SecretExistsError when the name is in use, SecretValidationError naming what is wrong. Under the
        name of a deleted secret the versions go on, and the deleted ones stay in its history.
        """
        draft = Draft.build(
            name,
            type,
            data,
            description=description,
            tags=tags,
            expires_at=expires_at,
            allowed_hosts=allowed_hosts,
            allowed_workflows=allowed_workflows,
            allow_short=allow_short,
            public_fields=public_fields,
        )
        with self._registry.transaction() as transaction:
            self._cipher.refresh()
            old = transaction.load(name)
            if old is not None and old.deleted_at is None:
                raise _exists(name)
            info = self._access.save_draft(transaction, draft, old)
        self._audited("create", name, info.version, now=True)
        return info

    @without_locals
    def get_secret(self, name: str, version: int | None = None) -> Secret:
        """Return the secret decrypted, its newest version or the given one.

        Raises SecretNotFoundError with the closest names, TamperedError, DamagedRecordError.
        """
        record = self._registry.read(name, version) if is_name(name) else None
        if record is None:
            raise self._not_found(name, version)
        problem = None
        try:
            secret = Secret(info_of, record, self._access.open_record(record))
        except SealflowError as error:
            problem = error
        if problem is not None:
            self._audited("reveal", name, record.version, type(problem).__name__)
            raise problem
        self._audited("reveal", name, record.version)
        return secret

    @without_locals
    def get_secrets(self, names: Iterable[str]) -> dict[str, Secret]:
        """Return those of ``names`` that exist, decrypted, by name: one read of the store for all of them."""
        records = self._registry.read_many([name for name in names if is_name(name)])
        found = {record.name: Secret(info_of, record, self._access.open_record(record)) for record in records}
        for name, secret in found.items():
            self._audited("reveal", name, secret.version)
        return found

    @without_locals
    def resolve_config(self, config: Any) -> Any:
        """Return a copy of ``config`` with every reference replaced by its value from this store, for scripts.

        A string that is exactly one reference keeps the field's type. Values are in the result: keep it as short as
        you can. Providers are not asked; ``Resolver.resolve_sync`` and ``sealflow.get`` do that. Raises
        ReferenceSyntaxError, SecretNotFoundError, FieldNotFoundError, SecretExpiredError, WorkflowNotAllowedError.
        """
        places = {reference: place for place, reference in references_in(config)}
        wrong = next((item for item in places if item.provider not in (None, "local")), None)
        if wrong is not None:
            raise SecretNotFoundError(
                f"{wrong} names the provider {shown(wrong.provider)}, and this is the local store",
                hint="Use sealflow.get or Resolver.resolve_sync, which ask providers",
                secret=wrong.name,
                path=spelled_path(places[wrong]) or None,
            )
        found = self.get_secrets({reference.name for reference in places})
        for reference, place in places.items():
            try:
                if reference.name not in found:
                    raise self._not_found(reference.name, None)
                found[reference.name].policy.check_use(reference.name, None, times.now())
            except SealflowError as error:
                raise error.placed(path=spelled_path(place) or None) from None
        fields = {name: secret.data for name, secret in found.items()}
        return substituted(
            config, lambda reference, place: copied(field_of(fields[reference.name], reference, place))
        )

    @without_locals
    def update_secret(
        self,
        name: str,
        data: SecretData | None = None,
        *,
        expected_version: int | None = None,
        description: str | None | _Unset = UNSET,
        tags: Iterable[str] | _Unset = UNSET,
        expires_at: datetime | str | None | _Unset = UNSET,
        allowed_hosts: _Hosts | _Unset = UNSET,
        allowed_workflows: _Hosts | _Unset = UNSET,
        allow_short: bool = True,
        public_fields: Iterable[str] | None | _Unset = UNSET,
    ) -> SecretInfo:
        """Make the next version, from new data (all of its fields), new metadata, or both.

        What is not given stays; None clears. Raises VersionConflictError when ``expected_version`` is given and
        the secret is at another one; nothing is changed then.
        """
        from sealflow.model.types import (
            public_choice,
            validated_contents,
        )  # before the lock: it brings pydantic

        given = (description, tags, expires_at, allowed_hosts, allowed_workflows, public_fields)
        if data is None and all(value is UNSET for value in given):
            raise SecretValidationError(
                "there is nothing to change", hint="Give data or metadata", secret=str(name)
            )
        with self._registry.transaction() as transaction:
            self._cipher.refresh()
            old = self._loaded(transaction, name, expected_version)
            current = old.current
            before = read_policy(current.policy, name)
            policy = Policy.build(
                before.allowed_hosts if allowed_hosts is UNSET else allowed_hosts,
                before.allowed_workflows if allowed_workflows is UNSET else allowed_workflows,
                before.expires_at if expires_at is UNSET else expires_at,
            )
            contents = self._cipher.open_contents(old.place(current), current.record)
            if data is not None or public_fields is not UNSET:
                fields = contents.fields if data is None else data
                kept = contents.public & public_choice(current.type, fields)
                contents = validated_contents(
                    current.type,
                    fields,
                    allow_short=allow_short,
                    public_fields=kept if public_fields is UNSET else public_fields,
                )
            stamp = times.to_text(times.now())
            secret = old._replace(
                description=old.description if description is UNSET else checked_description(description),
                tags=old.tags if tags is UNSET else checked_tags(tags),
                updated_at=stamp,
            )
            secret = self._access.with_version(secret, current.type, policy.to_text(), contents, stamp)
            transaction.save(secret)
        self._audited("update", name, secret.current.version, now=True)
        return stored_info(secret)

    def check_new_name(self, name: str) -> None:
        """Raise what ``create_secret`` would for the name: a person is told before typing values."""
        check_secret_name(name)
        found = self._registry.load(name)
        if found is not None and found.deleted_at is None:
            raise _exists(name)

    @without_locals
    def copy_secret(self, name: str, new_name: str) -> SecretInfo:
        """Store what ``name`` holds now, with its metadata and policy, as the new secret ``new_name``.

        Raises SecretNotFoundError, and SecretExistsError when the new name is in use.
        """
        check_secret_name(new_name)
        with self._registry.transaction() as transaction:
            self._cipher.refresh()
            old = self._loaded(transaction, name, None)
            target = transaction.load(new_name)
            if target is not None and target.deleted_at is None:
                raise _exists(new_name)
            current = old.current
            contents = self._cipher.open_contents(old.place(current), current.record)
            policy = read_policy(current.policy, name)
            draft = Draft(new_name, current.type, contents, policy, old.description, old.tags)
            info = self._access.save_draft(transaction, draft, target)
        self._audited("copy", name, current.version, now=True)
        self._audited("create", new_name, info.version, now=True)
        return info

    @without_locals
    def rename_secret(self, name: str, new_name: str) -> SecretInfo:
        """Give a secret another name, with all its versions: each is encrypted again, as a record is bound to its name.

        Raises SecretNotFoundError, and SecretExistsError when the new name is in use, also by a deleted secret.
        """
        check_secret_name(new_name)
        with self._registry.transaction() as transaction:
            self._cipher.refresh()
            old = self._loaded(transaction, name, None)
            if transaction.load(new_name) is not None:
                raise _exists(new_name)
            secret = old._replace(name=new_name, updated_at=times.to_text(times.now()))
            versions = tuple(self._resealed(old, secret, kept) for kept in old.versions)
            transaction.remove(name)
            transaction.save(secret._replace(versions=versions))
        both = ((name, old.current.version, "local"), (new_name, old.current.version, "local"))
        self._access.record(Event("rename", both), now=True)
        return stored_info(secret)

    def _resealed(self, old: StoredSecret, new: StoredSecret, kept: StoredVersion) -> StoredVersion:
        """Return a version of ``old`` encrypted for its place in ``new``; a destroyed one stays destroyed."""
        if kept.record is None:
            return kept
        plaintext = self._cipher.open(old.place(kept), kept.record)
        return kept._replace(record=self._cipher.seal(new.place(kept), plaintext))

    def delete_secret(self, name: str, *, expected_version: int | None = None) -> None:
        """Delete the secret: it is no longer listed, read or resolved. Its versions stay until they are destroyed."""
        with self._registry.transaction() as transaction:
            old = self._loaded(transaction, name, expected_version)
            transaction.save(old._replace(deleted_at=times.to_text(times.now())))
        self._audited("delete", name, old.current.version, now=True)

    def history(self, name: str) -> list[SecretVersion]:
        """Return the kept versions, oldest first, without their data; those of a deleted secret too."""
        found = self._registry.load(name) if is_name(name) else None
        if found is None:
            raise self._not_found(name, None)
        return [
            SecretVersion(
                kept.version,
                kept.type,
                times.from_text(kept.created_at),
                read_policy(kept.policy, name),
                destroyed=kept.record is None,
                current=kept is found.current and found.deleted_at is None,
            )
            for kept in found.versions
        ]

    @without_locals
    def rollback(self, name: str, version: int, *, expected_version: int | None = None) -> SecretInfo:
        """Make the data of an older version the next version; hosts, workflows and expiry stay as they are now.

        A field is public when it is public in both. Raises SecretNotFoundError when that version is not kept or was
        destroyed, VersionConflictError.
        """
        with self._registry.transaction() as transaction:
            self._cipher.refresh()
            old = self._loaded(transaction, name, expected_version)
            kept = next((item for item in old.versions if item.version == version), None)
            if kept is None:
                raise self._not_found(name, version)
            contents = self._cipher.open_contents(old.place(kept), kept.record)
            if old.current.record is not None:
                now = self._cipher.open_contents(old.place(old.current), old.current.record)
                contents = contents._replace(public=contents.public & now.public)
            stamp = times.to_text(times.now())
            secret = self._access.with_version(
                old._replace(updated_at=stamp), kept.type, old.current.policy, contents, stamp
            )
            transaction.save(secret)
        self._audited("rollback", name, secret.current.version, now=True)
        return stored_info(secret)

    def undelete(self, name: str) -> SecretInfo:
        """Bring a deleted secret back, with all its versions; SecretExistsError when it is not deleted."""
        with self._registry.transaction() as transaction:
            old = transaction.load(name) if is_name(name) else None
            if old is None:
                raise self._not_found(name, None)
            if old.deleted_at is None:
                raise SecretExistsError(
                    f"the secret {name!r} is not deleted", hint="There is nothing to do", secret=name
                )
            secret = old._replace(deleted_at=None, updated_at=times.to_text(times.now()))
            transaction.save(secret)
        self._audited("undelete", name, secret.current.version, now=True)
        return stored_info(secret)

    def destroy(self, name: str, versions: Iterable[int] | None = None) -> None:
        """Overwrite the data of ``versions`` for good; None: remove the secret with all its versions and its name.

        Raises SecretNotFoundError for a secret or version that is not kept; nothing is destroyed then.
        """
        wanted = None if versions is None else set(versions)
        with self._registry.transaction() as transaction:
            old = transaction.load(name) if is_name(name) else None
            if old is None:
                raise self._not_found(name, None)
            missing = (wanted or set()) - {kept.version for kept in old.versions}
            if missing:
                raise self._not_found(name, min(missing))
            if wanted is None:
                transaction.remove(name)
            else:
                kept = tuple(
                    item._replace(record=None) if item.version in wanted else item for item in old.versions
                )
                transaction.save(old._replace(versions=kept, updated_at=times.to_text(times.now())))
        for item in old.versions:
            if item.record is not None and (wanted is None or item.version in wanted):
                self._audited("destroy", name, item.version, now=True)

    def list_secrets(self, type: str | None = None, tags: Iterable[str] = ()) -> list[SecretInfo]:  # noqa: A002
        """Return the secrets without their data, sorted by name: those of ``type`` that have all of ``tags``."""
        return list_infos(self._registry, type, tags)

    def _loaded(
        self, transaction: RegistryTransaction, name: str, expected_version: int | None
    ) -> StoredSecret:
        """Return a secret that is there and not deleted, at the version that the caller expects."""
        old = transaction.load(name) if is_name(name) else None
        if old is None or old.deleted_at is not None:
            raise self._not_found(name, None)
        if expected_version is not None and expected_version != old.current.version:
            raise VersionConflictError(
                f"the secret {name!r} is at version {old.current.version}, not {expected_version}",
                hint="Somebody changed it: read it again and repeat your change",
                secret=name,
            )
        return old

    def _audited(
        self, action: str, name: str, version: int, outcome: str = "ok", *, now: bool = False
    ) -> None:
        self._access.record(Event(action, ((name, version, "local"),), outcome), now=now)

    def _not_found(self, name: object, version: int | None) -> SecretNotFoundError:
        names = [record.name for record in self._registry.find()]
        if version is not None and name in names:
            message, hint = f"the secret {name!r} has no version {version}", "The last 10 versions are kept"
        else:
            message, hint = f"there is no secret {shown(name)}", closest(str(name), names, what="secrets")
        return SecretNotFoundError(message, hint=hint, secret=str(name))


def _exists(name: str) -> SecretExistsError:
    return SecretExistsError(
        f"the secret {name!r} exists",
        hint="Update it, choose another name, or delete it first (for rename: destroy it)",
        secret=name,
    )
