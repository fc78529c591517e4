"""Looks for what can be wrong with a store, and says what to do about each finding."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from sealflow import settings as names
from sealflow.audit import FILE, AuditLog
from sealflow.config import load_config
from sealflow.crypto.key_sources import find_master_keys, list_set_variables
from sealflow.crypto.master_key import KeySource, MasterKey, Passphrase
from sealflow.errors import DamagedRecordError, SealflowError, SettingsError
from sealflow.model import times
from sealflow.model.hosts import is_loopback, normalised
from sealflow.model.maskable import unmaskable_fields
from sealflow.model.policy import EXPIRY_NOTICE
from sealflow.model.secret import SecretInfo
from sealflow.model.stored import StoredSecret
from sealflow.operations.backup import check_record_errors
from sealflow.operations.keys import dek_uses
from sealflow.operations.old_copies import REMOVE, find_old_copies
from sealflow.providers.options import ProviderSettings, provider_settings
from sealflow.service.cipher import StoreCipher
from sealflow.service.describe import info_of
from sealflow.settings import Settings
from sealflow.stores.private_files import TEMPORARY
from sealflow.stores.registry import SecretRegistry
from sealflow.stores.select import MAIN_FILES, MARKER, existing_backend, no_store, open_registry
from sealflow.wording import quoted

UNUSED = timedelta(days=90)
_OURS = re.compile(
    r"store\.json|[\w.]+\.lock|audit\.log(\.head)?|secrets\.db(-wal|-shm)?|keyring\.json|journal\.json|records|old-.*"
)


class Finding(NamedTuple):
    """``level``: error (secrets are lost, open to others, or cannot be used), warning (act soon), note (worth knowing)."""

    check: str
    level: Literal["error", "warning", "note"]
    problem: str
    fix: str


def examine(settings: Settings, *, needs_store: bool = True) -> list[Finding]:
    """Return everything that is wrong with the store that ``settings`` name, or could be better. It repairs nothing.

    Without ``needs_store`` it is only a note that there is none: a project with providers alone.
    """
    # Opening the store narrows modes that are too wide, so they are looked at before.
    found = list(_files(settings.path))
    found += _old_copies(settings)
    try:
        backend = existing_backend(settings)
        if backend is None:
            missing = no_store(settings)
            level: Literal["error", "note"] = "error" if needs_store else "note"
            return [*found, Finding("store", level, missing.message, missing.hint or "")]
        found += _backends(settings.path, backend)  # and opening writes a missing marker again
        registry = open_registry(settings)
    except SealflowError as error:
        return [*found, _from_error("store", error)]
    with registry:
        for name, check in OPEN_STORE_CHECKS:
            found += _checked(name, check, registry, settings)
    return found


_Check = Callable[[SecretRegistry, Settings], Iterator[Finding]]


def _checked(name: str, check: _Check, registry: SecretRegistry, settings: Settings) -> list[Finding]:
    """Run one check; an error that stops it is a finding of this name, and the other checks still run."""
    found: list[Finding] = []
    try:
        found.extend(check(registry, settings))
    except SealflowError as error:
        found.append(_from_error(name, error))
    return found


def _from_error(check: str, error: SealflowError) -> Finding:
    return Finding(check, "error", error.message, error.hint or "Restore a backup")


def _files(path: Path) -> Iterator[Finding]:
    """Permissions, owners, links and what killed processes left."""
    if not path.is_dir():
        return
    for item in (path, *sorted(path.rglob("*"))):
        status = item.lstat()
        mode, kind = stat.S_IMODE(status.st_mode), "directory" if item.is_dir() else "file"
        wanted = 0o700 if kind == "directory" else 0o600
        if stat.S_ISLNK(status.st_mode):
            yield Finding("permissions", "error", f"{item} is a link", f"Remove it: rm {quoted(item)}")
        elif mode & 0o077:
            text = f"the {kind} {item} has the mode {mode:04o}: others can read or change it"
            yield Finding("permissions", "error", text, f"chmod {wanted:o} {quoted(item)}")
        elif status.st_uid != os.geteuid():
            text = f"the {kind} {item} belongs to the user {status.st_uid}, not to you"
            yield Finding("permissions", "error", text, f"chown {os.geteuid()} {quoted(item)}")
        if item.name.startswith(TEMPORARY) and not any(
            above.name.startswith(TEMPORARY) for above in item.parents
        ):
            text = f"{item} was left behind by a process that was killed"
            yield Finding(
                "temporary-files",
                "warning",
                text,
                f"Remove it when no other sealflow runs: rm -r {quoted(item)}",
            )
        elif item.parent == path and not _OURS.fullmatch(item.name):
            text = f"{item} is not a file of the store"
            yield Finding(
                "temporary-files", "warning", text, f"Look at it, and move it away: mv {quoted(item)} …"
            )
    parent = path.parent.stat()
    if parent.st_mode & 0o022 and not parent.st_mode & stat.S_ISVTX:
        text = f"others can write to {path.parent}, and so replace the directory of the store"
        yield Finding("permissions", "warning", text, f"chmod go-w {quoted(path.parent)}")


def _backends(path: Path, live: str) -> Iterator[Finding]:
    if not (path / MARKER).exists():
        text = f"{path / MARKER}, which says which store is live, is missing"
        yield Finding("store", "warning", text, "Open the store once, which writes it again")
    for name, file in MAIN_FILES.items():
        if name != live and (path / file).exists():
            text = f"a {name} store is beside the live {live} store, because a move was killed"
            yield Finding(
                "store",
                "warning",
                text,
                f"sealflow store migrate --to {quoted(live)}, which finishes the move",
            )


def _old_copies(settings: Settings) -> Iterator[Finding]:
    for old in find_old_copies(settings):
        text = f"{old} is a copy of the store from before a move or a restore: it still holds secrets that were destroyed since"
        yield Finding("store", "note", text, REMOVE)


def _integrity(registry: SecretRegistry, settings: Settings) -> Iterator[Finding]:  # noqa: ARG001
    for problem in registry.problems():
        yield Finding("integrity", "error", problem, "Restore a backup: sealflow backup restore FILE")


def _audit_chain(registry: SecretRegistry, settings: Settings) -> Iterator[Finding]:
    trail = AuditLog(settings.path / FILE)
    if not trail.path.exists() and registry.status().secrets:
        text = f"the audit trail {trail.path} is missing, and there are secrets"
        yield Finding("audit", "warning", text, "Find out who removed it; the next use begins a new one")
    _, breaks = trail.verify()
    for item in breaks[:5]:
        text = f"{trail.path}, line {item.line}: {item.problem}"
        yield Finding(
            "audit", "error", text, "Find out who can write to the store; compare with a copy of the trail"
        )


def _expiry_and_use(registry: SecretRegistry, settings: Settings) -> Iterator[Finding]:
    """Expired, expiring and unused secrets, and those that may go anywhere."""
    used = {
        str(item.get("secret")): str(item.get("time"))
        for item in AuditLog(settings.path / FILE).events()
        if item.get("action") in ("resolve", "reveal") and item.get("outcome") == "ok"
    }
    anywhere = []
    for record in registry.find():
        try:
            info = info_of(record)
        except DamagedRecordError as error:  # one secret's damage hides nothing of the others
            yield _from_error("records", error)
            continue
        yield from _of_one(info, used.get(info.name), times.now())
        if info.metadata.policy.allowed_hosts is None:
            anywhere.append(info.name)
    if anywhere:
        some = ", ".join(anywhere[:5]) + (" …" if len(anywhere) > 5 else "")
        text = f"these secrets may be sent to any host: {some}"
        yield Finding("policy", "note", text, "sealflow secret update NAME --allowed-host HOST")


def _of_one(info: SecretInfo, last_use: str | None, moment: datetime) -> Iterator[Finding]:
    policy = info.metadata.policy
    update = f"sealflow secret update {quoted(info.name)} --expires-at TIME, with a new value"
    if policy.expires_at is not None and policy.expired(moment):
        text = f"the secret {info.name!r} expired at {times.to_text(policy.expires_at)}"
        yield Finding("expired", "warning", text, f"{update}; or sealflow secret delete {quoted(info.name)}")
    elif policy.expired(moment + EXPIRY_NOTICE):
        yield Finding("expiring", "warning", policy.expiry_warning(info.name, moment) or "", update)
    if last_use is None or last_use < times.to_text(moment - UNUSED):
        when = "was never used" if last_use is None else f"was last used at {last_use}"
        text = f"the secret {info.name!r} {when}, according to the audit trail"
        yield Finding(
            "unused",
            "note",
            text,
            f"sealflow secret usage {quoted(info.name)}; delete it if nothing needs it",
        )


def _keys(registry: SecretRegistry, settings: Settings) -> Iterator[Finding]:
    """The master key, the keyring, and with them every record."""
    sources = find_master_keys(None, settings.path, registry.store_id, registry.keyring)
    yield from _key_settings(sources)
    cipher = StoreCipher(registry, sources)
    with registry.snapshot() as snapshot:
        document, secrets = snapshot.keyring, list(snapshot.secrets)
    opening = [kek for kek in document.keks if kek.kind != "recovery"]
    if len(opening) > 1:
        text = f"{len(opening)} master keys open this store: {', '.join(kek.kek_id for kek in opening)}"
        yield Finding("keys", "note", text, "When the new one is everywhere: sealflow key remove ID")
    if all(kek.kind != "recovery" for kek in document.keks):
        text = "there is no recovery key: if the master key is lost, so are all secrets"
        yield Finding("keys", "note", text, "sealflow key add --recovery, and keep it in a safe")
    old = [dek.dek_id for dek in document.deks if dek.state == "decrypt_only"]
    if old:
        count = sum(dek_uses(secrets)[dek_id] for dek_id in old)
        text = f"the store key was rotated, and {count} records are still sealed with an old one"
        yield Finding("keys", "warning", text, "sealflow key reencrypt")
    for secret in secrets:
        yield from _records(registry, cipher, secret)


def _key_settings(sources: tuple[KeySource, ...]) -> Iterator[Finding]:
    given = list_set_variables()
    if len(given) > 1:
        text = f"{' and '.join(given)} are set: only the first of them is used"
        yield Finding("settings", "warning", text, f"Unset {', '.join(given[1:])}")
    if isinstance(sources[0], Passphrase):
        text = "the store opens with a passphrase, which is weaker than a key, and slower"
        yield Finding(
            "settings", "note", text, "sealflow key add --generate FILE, then remove the passphrase"
        )
    if len(sources) > 1 and isinstance(sources[1], MasterKey):
        text = f"{names.MASTER_KEY_PREVIOUS} is set: the master key is being exchanged"
        yield Finding("settings", "note", text, "Unset it once the old key is removed")


def _records(registry: SecretRegistry, cipher: StoreCipher, secret: StoredSecret) -> Iterator[Finding]:
    """Open every version of a secret; look at the newest for values that cannot be masked."""
    damaged = dict(check_record_errors(registry.store_id, cipher.keyring, secret))
    for version, error in damaged.items():
        text = f"version {version} of the secret {secret.name!r} cannot be opened: {error.message}"
        fix = f"Restore a backup, or give it a new value; sealflow secret history {quoted(secret.name)} shows the versions"
        yield Finding("records", "error", text, fix)
    current = secret.current
    if secret.deleted_at is not None or current.version in damaged or current.record is None:
        return
    contents = cipher.open_contents(secret.place(current), current.record)
    short = list(unmaskable_fields(*contents))
    if short:
        text = (
            f"the secret {secret.name!r} has a value too short to be masked, in the field {', '.join(short)}"
        )
        yield Finding(
            "settings",
            "warning",
            text,
            f"sealflow secret update {quoted(secret.name)} --field {quoted(short[0])}",
        )


OPEN_STORE_CHECKS: tuple[tuple[str, _Check], ...] = (
    ("integrity", _integrity),
    ("audit", _audit_chain),
    ("expired", _expiry_and_use),
    ("keys", _keys),
)
"""The checks of an open store, by the name that is reported when an error stops one (docs/reference/doctor.md)."""


def examine_config(path: Path | None) -> Iterator[Finding]:
    """Yield what is wrong or weak in the configuration; None: there is none."""
    if path is None:
        return
    try:
        providers = provider_settings(load_config(path))
    except SettingsError as error:
        yield Finding("settings", "error", error.message, error.hint or "Correct the file")
        return
    if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        text = f"others can write to {path}, and so say where secrets come from"
        yield Finding("settings", "error", text, f"chmod go-w {quoted(path)}")
    for provider in providers:
        yield from _provider(path, provider)


def _provider(path: Path, provider: ProviderSettings) -> Iterator[Finding]:
    options = provider.options
    where = f"{path}: the provider {provider.name!r}"
    for key in ("address", "endpoint"):
        if _without_tls(options.get(key)):
            yield Finding(
                "settings", "warning", f"{where} is reached without TLS", f"Give {key} as https://…"
            )
    if options.get("verify_tls") is False:
        yield Finding(
            "settings", "warning", f"{where} is not verified by TLS", "Set ca_file, and remove verify_tls"
        )


def _without_tls(address: object) -> bool:
    if not isinstance(address, str) or not address.lower().startswith("http://"):
        return False
    try:
        return not is_loopback(normalised(urlsplit(address).hostname or ""))
    except ValueError:
        return True
