"""``sealflow init`` and ``sealflow store``."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from sealflow.audit import key_event
from sealflow.cli.common import confirm, counted, json_option
from sealflow.cli.terminal import echo, print_json
from sealflow.crypto.key_file import default_key_file, write_key_file
from sealflow.crypto.key_sources import find_master_key, find_master_keys
from sealflow.crypto.master_key import KeySource, MasterKey
from sealflow.errors import MissingMasterKeyError, SettingsError, TrustError
from sealflow.model.stored import KeyringDocument
from sealflow.project import CONFIG_FILE, find_project
from sealflow.settings import MASTER_KEY_FILE, MASTER_KEY_KEYCHAIN, STORAGE_BACKEND, Settings
from sealflow.stores.registry import SecretRegistry
from sealflow.stores.select import open_registry
from sealflow.trust import trust_folder


@dataclass
class _Made:
    """What ``init`` made: a store, and a master key in a file or in a keychain entry."""

    store: bool = False
    key_file: Path | None = None
    keychain: str | None = None

    def new_key(self, store_id: str, keychain: str | None) -> MasterKey:
        """Make the master key of a new store, and keep it in the keychain entry or else in its file."""
        key = MasterKey.generate()
        if keychain is not None:
            from sealflow.crypto.keychain import write_keychain

            write_keychain(keychain, key)
            self.keychain = keychain
        else:
            self.key_file = default_key_file(store_id)
            _write_key(self.key_file, key)
        return key

    def remove_key(self) -> None:
        """Remove the key that was made, if one was."""
        if self.key_file is not None:
            with suppress(OSError):  # it may be the file that could not be written
                self.key_file.unlink()
        if self.keychain is not None:
            from sealflow.crypto.keychain import remove_keychain

            remove_keychain(self.keychain)


@click.command()
@click.option("--backend", help="sqlite (default) or file.")
@click.option("--keychain", metavar="NAME", help="Keep the new master key in the system's keychain.")
@json_option
def init(backend: str | None, keychain: str | None, as_json: bool) -> None:
    """Make a store here, and a master key if none is configured.

    The key is written to a file in your config directory, or to the system's keychain, never beside the secrets.
    """
    from sealflow.crypto.keyring import new_document
    from sealflow.operations.trail import record_event

    settings = Settings.for_new_store(None, backend)
    _warn_of_project_above(settings)
    made = _Made()

    def new_keyring(store_id: str) -> KeyringDocument:
        key: KeySource
        try:
            key = find_master_key(None, settings.path, None)
        except MissingMasterKeyError:
            key = made.new_key(store_id, keychain)
        made.store = True
        return new_document(store_id, key)

    try:
        registry = open_registry(settings, new_keyring)
    except BaseException:
        made.remove_key()  # it would open a store that was not made
        raise
    with registry:
        if made.keychain is not None:
            os.environ[MASTER_KEY_KEYCHAIN] = made.keychain
        with_key = _check_key(settings, registry)
        if made.store:
            record_event(settings, key_event("key_create", registry.keyring().keks[0].kek_id))
    trusted = _trust_this_folder()
    result = {
        "path": str(settings.path),
        "backend": registry.backend,
        "store_id": registry.store_id,
        "created": made.store,
        "key_file": None if made.key_file is None else str(made.key_file),
        "keychain": made.keychain,
        "master_key": with_key,
        "trusted": trusted,
    }
    if as_json:
        print_json(result)
        return
    echo(
        f"{'Made' if result['created'] else 'There is already'} a {registry.backend} store in {settings.path}"
    )
    echo(f"Master key: {with_key}")
    if trusted is not None:
        echo(f"Workflows in {trusted} are trusted: they may use functions, providers and every secret")
    if result["key_file"]:
        echo(
            "Keep a copy of that file in a safe place: without it nobody can read the secrets, not even you."
        )
    if result["keychain"]:
        echo(f"Set {MASTER_KEY_KEYCHAIN}={keychain} wherever the store is opened.")
        echo(
            "Make a recovery key too (`sealflow key add --recovery`): a keychain can be lost with its machine."
        )
    echo("Next: sealflow secret create github --type bearer_token")


def _warn_of_project_above(settings: Settings) -> None:
    above = find_project()
    if settings.project is not None and above.marks and above.folder != Path.cwd():
        echo(
            f"sealflow: warning: this folder was part of the project {above.folder} until now, and is a project of its own "
            f"from here on: it does not use the store and the {CONFIG_FILE} there",
            err=True,
        )


def _trust_this_folder() -> str | None:
    """Trust the current folder; None, with a warning, where it cannot be trusted or holds more than one project."""
    folder, home = Path.cwd(), _find_home()
    if home is not None and folder in (home, *home.parents):
        problem = f"{folder} holds more than your workflows, so it is not trusted. Run: sealflow trust FOLDER"
    else:
        try:
            return str(trust_folder(folder))
        except (TrustError, SettingsError) as error:
            problem = str(error)
    echo(f"sealflow: warning: {problem}", err=True)
    return None


def _find_home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and no line in passwd
        return None


def _write_key(path: Path, key: MasterKey) -> None:
    try:
        write_key_file(path, key.to_text())
    except OSError as error:
        problem = error.strerror
    else:
        return
    raise SettingsError(
        f"the master key cannot be kept in {path} ({problem})",
        hint="Set HOME or XDG_CONFIG_HOME to a directory of this user, or make the key elsewhere: "
        f"sealflow key generate --out FILE, and name FILE by {MASTER_KEY_FILE}",
    )


def _check_key(settings: Settings, registry: SecretRegistry) -> str:
    from sealflow.crypto.keyring import Keyring

    keys = find_master_keys(None, settings.path, registry.store_id, registry.keyring)
    Keyring.open(registry.store_id, registry.keyring(), *keys)
    return keys[0].source


@click.group()
def store() -> None:
    """Look at the store, and move it to another backend."""


@store.command()
@click.option("--to", "target", metavar="BACKEND", help="sqlite, file, or a backend of an installed package.")
@click.option(
    "--remove-old", is_flag=True, help="Remove for good the old copies that moves and restores left."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def migrate(target: str | None, remove_old: bool, yes: bool, as_json: bool) -> None:
    """Move the store to another backend: ids, versions, times, keys, everything. Needs no master key.

    It stays in its directory, and the old store is kept there until you run --remove-old. If it is stopped, run it again.
    """
    from sealflow.operations import migrate_store, remove_old_copies

    settings = Settings.load()
    if (target is None) != remove_old:
        raise click.UsageError("give --to BACKEND, or --remove-old")
    if target is None:
        confirm(f"Remove the old copies of the store in {settings.path} for good?", yes, "--remove-old")
        removed = [str(item) for item in remove_old_copies(settings)]
        if as_json:
            print_json({"removed": removed})
        else:
            echo(f"Removed {', '.join(removed)}")
        return
    done = migrate_store(settings, target)
    if as_json:
        print_json({**done._asdict(), "old": [str(item) for item in done.old]})
        return
    if done.source == done.target:
        echo(f"It is already a {done.target} store.")
    else:
        echo(
            f"Moved {counted(done.secrets, 'secret')} from the {done.source} store to the {done.target} store."
        )
        echo("Restart every process that has the store open: until then it gets an error.")
    if settings.backend not in (None, done.target):
        echo(f"sealflow: warning: {STORAGE_BACKEND} says {settings.backend}: change or unset it", err=True)
    for item in done.old:
        echo(f"The old store is kept in {item}; remove it with `sealflow store migrate --remove-old`")


@store.command()
@json_option
def status(as_json: bool) -> None:
    """Show where the store is, its backend, schema, keys and files. Needs no master key."""
    with open_registry(Settings.load()) as registry:
        found, keyring = registry.status(), registry.keyring()
    described = {
        "path": str(found.path),
        "backend": found.backend,
        "store_id": found.store_id,
        "schema_version": found.schema_version,
        "read_only": found.read_only,
        "secrets": found.secrets,
        "master_keys": [kek.kek_id for kek in keyring.keks],
        "active_dek": next((dek.dek_id for dek in keyring.deks if dek.state == "active"), None),
        "directory_mode": f"{found.path.stat().st_mode & 0o777:04o}",
        "files": [
            {"name": str(file.relative_to(found.path)), "mode": f"{file.stat().st_mode & 0o777:04o}"}
            for file in found.files
            if file.exists()
        ],
    }
    if as_json:
        print_json(described)
        return
    for key, value in described.items():
        if key != "files":
            echo(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
    for file in found.files[:20]:
        if file.exists():
            echo(f"file: {file.stat().st_mode & 0o777:04o} {file.relative_to(found.path)}")
    if len(found.files) > 20:
        echo(f"file: and {len(found.files) - 20} more")
