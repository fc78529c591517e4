"""``sealflow init`` and ``sealflow store``."""

from __future__ import annotations

from typing import Any

import click

from sealflow.cli.common import json_option, print_json
from sealflow.crypto.key_file import default_key_file, write_key_file
from sealflow.crypto.master_key import KeySource, MasterKey, find_master_key
from sealflow.errors import MissingMasterKeyError
from sealflow.settings import Settings
from sealflow.stores.base import SecretRegistry
from sealflow.stores.select import open_registry


@click.command()
@click.option("--backend", help="sqlite (default) or file.")
@json_option
def init(backend: str | None, as_json: bool) -> None:
    """Make a store here, and a master key where none is configured.

    The key goes to a file of yours in your config directory, never beside the secrets.
    """
    from sealflow.crypto.keyring import new_document

    settings = Settings.load(None, backend)
    made: dict[str, Any] = {}

    def new_keyring(store_id: str) -> Any:
        key: KeySource
        try:
            key = find_master_key(None, settings.path, None)
        except MissingMasterKeyError:
            key = MasterKey.generate()
            made["key_file"] = default_key_file(store_id)
            write_key_file(made["key_file"], key.to_text())
        made["store"] = store_id
        return new_document(store_id, key)

    try:
        registry = open_registry(settings, new_keyring)
    except BaseException:
        if "key_file" in made:
            made["key_file"].unlink(missing_ok=True)  # the key of a store that was not made
        raise
    with_key = _check_key(settings, registry)
    registry.close()
    result = {
        "path": str(settings.path),
        "backend": registry.backend,
        "store_id": registry.store_id,
        "created": "store" in made,
        "key_file": str(made["key_file"]) if "key_file" in made else None,
        "master_key": with_key,
    }
    if as_json:
        print_json(result)
        return
    click.echo(
        f"{'Made' if result['created'] else 'There is already'} a {registry.backend} store in {settings.path}"
    )
    click.echo(f"Master key: {with_key}")
    if result["key_file"]:
        click.echo(
            "Keep a copy of that file in a safe place: without it nobody can read the secrets, you included."
        )
    click.echo("Next: sealflow secret create github --type bearer_token")


def _check_key(settings: Settings, registry: SecretRegistry) -> str:
    from sealflow.crypto.keyring import Keyring

    key = find_master_key(None, settings.path, registry.store_id)
    Keyring.open(registry.store_id, registry.keyring(), key)
    return key.source


@click.group()
def store() -> None:
    """Look at the store."""


@store.command()
@json_option
def status(as_json: bool) -> None:
    """Show where the store is, its backend, schema, keys and files. Needs no master key."""
    registry = open_registry(Settings.load())
    try:
        found, keyring = registry.status(), registry.keyring()
    finally:
        registry.close()
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
            click.echo(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
    for file in found.files[:20]:
        if file.exists():
            click.echo(f"file: {file.stat().st_mode & 0o777:04o} {file.relative_to(found.path)}")
    if len(found.files) > 20:
        click.echo(f"file: and {len(found.files) - 20} more")
