"""``sealflow key``: master keys, and the store's own keys."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealflow.cli.common import confirm, counted, json_option
from sealflow.cli.terminal import clean, echo, echo_exactly, print_json, print_table
from sealflow.crypto.key_file import read_key_file, write_key_file
from sealflow.crypto.master_key import KeySource, MasterKey, read_passphrase
from sealflow.errors import SealflowError
from sealflow.settings import Settings
from sealflow.wording import quoted

if TYPE_CHECKING:
    from sealflow.operations import Progress
    from sealflow.operations.default_key import KeysLeft


@click.group()
def key() -> None:
    """Make and manage master keys, and rotate the store's own keys."""


@key.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write it to this new file (mode 0600) and print only its id.",
)
def generate(out: Path | None) -> None:
    """Make a master key: for WORKFLOW_SECRETS_MASTER_KEY, or a file that WORKFLOW_SECRETS_MASTER_KEY_FILE names.

    It does not open a store yet: `sealflow init` makes a store with it, and `sealflow key add` lets it open an existing one.
    """
    made = MasterKey.generate()
    if out is None:
        echo_exactly(made.to_text())
        echo(f"id: {made.kek_id}. Keep it in a safe place: it opens every secret that it encrypts.", err=True)
        return
    _write_new(out, made)
    echo(f"Wrote a master key with the id {made.kek_id} to {out}")


@key.command()
@json_option
def status(as_json: bool) -> None:
    """Show the keys of the store, their ids and uses. Needs no master key."""
    from sealflow.operations import key_status

    described = key_status(Settings.load())
    if as_json:
        print_json(described)
        return
    rows = [
        (
            item["id"],
            item["kind"],
            item["created_at"][:19] + "Z",
            f"configured: {item['source']}" if item["configured"] else "",
        )
        for item in described["master_keys"]
    ]
    print_table(("MASTER KEY", "KIND", "ADDED", ""), rows)
    echo()
    rows = [
        (item["id"], item["state"], item["created_at"][:19] + "Z", str(item["records"]))
        for item in described["store_keys"]
    ]
    print_table(("STORE KEY", "STATE", "MADE", "RECORDS"), rows)


@key.command()
@click.option("--key-file", type=click.Path(path_type=Path), help="A file that holds a master key.")
@click.option(
    "--generate", "new_file", type=click.Path(path_type=Path), help="Make a master key in this new file."
)
@click.option("--keychain", metavar="NAME", help="Make a master key and keep it in the system's keychain.")
@click.option("--passphrase", is_flag=True, help="A passphrase, asked for without echo.")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="A file that holds a passphrase.")
@click.option("--recovery", is_flag=True, help="Make a recovery key and print it, once.")
@json_option
def add(
    key_file: Path | None,
    new_file: Path | None,
    keychain: str | None,
    passphrase: bool,
    passphrase_file: Path | None,
    recovery: bool,
    as_json: bool,
) -> None:
    """Let another master key open the store too. No secret is rewritten, and the old key still works.

    Then give the new key to every process, and remove the old one with `sealflow key remove ID`.
    """
    from sealflow.operations import StoreKeys
    from sealflow.service.open_service import open_existing

    given = [key_file, new_file, keychain, passphrase or None, passphrase_file, recovery or None]
    if sum(item is not None for item in given) != 1:
        raise click.UsageError(
            "give one of --key-file, --generate, --keychain, --passphrase, --passphrase-file, --recovery"
        )
    storage = Settings.load().path
    with open_existing() as service:
        keys = StoreKeys(service)
        if recovery:
            _print_recovery(keys.add_recovery(), as_json)
            return
        with _new_source(storage, key_file, new_file, keychain, passphrase_file) as source:
            kek_id = keys.add(source)
    if as_json:
        print_json({"id": kek_id})
        return
    echo(f"The master key {kek_id} opens this store too.")
    if file := new_file or key_file:
        echo(f"To make it the key of this user's own commands: sealflow key use {quoted(file)}")
    echo("Next: configure it wherever the store is opened, then `sealflow key remove` the old one.")


@key.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def use(file: Path, as_json: bool) -> None:
    """Make the master key in FILE the default one: this user's commands use it where no variable names another.

    It must open the store already (`sealflow key add`). The key that was the default until now is kept aside.
    """
    from sealflow.operations.default_key import use_key_file

    used = use_key_file(Settings.load(), file)
    if as_json:
        print_json(used.to_dict())
        return
    echo(f"The master key {used.id} is in {used.path}, and this user's commands use it.")
    if used.kept is not None:
        echo(f"The key that was there is kept in {used.kept}")
    if used.hidden_by is not None:
        echo(
            f"sealflow: warning: the key from {used.hidden_by} is used before that file: change or unset its variable",
            err=True,
        )


@key.command()
@click.argument("kek_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def remove(kek_id: str, yes: bool, as_json: bool) -> None:
    """Stop the master key ID (see `sealflow key status`) from opening the store.

    Processes that have only this key cannot open the store afterwards. The last key cannot be removed.
    """
    from sealflow.operations import StoreKeys
    from sealflow.operations.default_key import keys_left
    from sealflow.service.open_service import open_existing

    settings = Settings.load()
    with open_existing() as service:
        confirm(f"Remove the master key {kek_id} from this store?", yes, "remove")
        StoreKeys(service).remove(kek_id)
    left = keys_left(settings, kek_id)
    if as_json:
        print_json({"id": kek_id, "removed": True, **left.to_dict()})
        return
    echo(f"The master key {kek_id} no longer opens this store. Earlier backups still open with it.")
    for source in left.configured_here:
        echo(f"It is still configured here: {source}")
    if left.default is not None:
        _offer_default(settings, left, yes)
    echo(
        f"Every other process, timer, container and machine that was given {kek_id} needs "
        f"{left.in_use or 'another key'} instead; one that runs now goes on until it opens the store again."
    )


def _offer_default(settings: Settings, left: KeysLeft, yes: bool) -> None:
    """Offer to put the key that works into the default key file, which holds the removed one."""
    from sealflow.operations.default_key import use_key_file

    if left.file_in_use is None:
        echo(f"Next: sealflow key use FILE, so that {left.default} holds a key that works")
    elif yes or not sys.stdin.isatty():
        echo(f"Next: sealflow key use {quoted(left.file_in_use)}")
    elif click.confirm(clean(f"Put the key {left.in_use} into {left.default}?"), default=True):
        used = use_key_file(settings, left.file_in_use)
        echo(f"Done. The removed key is kept in {used.kept}")


@key.command("rotate-dek")
@json_option
def rotate_dek(as_json: bool) -> None:
    """Make a new store key (DEK) for what is written from now on. Existing records stay readable.

    `sealflow key reencrypt` then encrypts the old records with it.
    """
    from sealflow.operations import StoreKeys
    from sealflow.service.open_service import open_existing

    with open_existing() as service:
        dek_id = StoreKeys(service).rotate_dek()
    if as_json:
        print_json({"id": dek_id})
    else:
        echo(f"New records are encrypted with the store key {dek_id}. Next: sealflow key reencrypt")


@key.command()
@json_option
def reencrypt(as_json: bool) -> None:
    """Encrypt every record with the newest store key, and destroy the old keys.

    Others can read and write meanwhile. If it is stopped, run it again: it continues where it was.
    """
    from sealflow.operations import StoreKeys
    from sealflow.service.open_service import open_existing

    with open_existing() as service, _progress(quiet=as_json) as progress:
        result = StoreKeys(service).reencrypt(progress)
    if as_json:
        print_json({"reencrypted": result.done, "damaged": list(result.damaged)})
    else:
        echo(f"{counted(result.done, 'secret')} encrypted again.")
    for name in result.damaged:
        echo(f"sealflow: {name} cannot be decrypted and was left as it is: see `sealflow doctor`", err=True)
    if result.damaged:
        click.get_current_context().exit(1)


@contextlib.contextmanager
def _new_source(
    storage: Path,
    key_file: Path | None,
    new_file: Path | None,
    keychain: str | None,
    passphrase_file: Path | None,
) -> Iterator[KeySource]:
    """Yield the key to add; a key that was made for this is removed again if it was not added."""
    if key_file is not None:
        yield MasterKey.parse(read_key_file(key_file, storage), f"the key file {key_file}")
    elif passphrase_file is not None:
        text = read_key_file(passphrase_file, storage)
        yield read_passphrase(text, f"the passphrase file {passphrase_file}")
    elif new_file is not None:
        made = MasterKey.generate()
        _write_new(new_file, made)
        try:
            yield made
        except BaseException:
            new_file.unlink(missing_ok=True)
            raise
    elif keychain is not None:
        from sealflow.crypto.keychain import remove_keychain, write_keychain

        made = MasterKey.generate()
        write_keychain(keychain, made)
        try:
            yield made
        except BaseException:
            remove_keychain(keychain)
            raise
    else:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask for the passphrase: use --passphrase-file")
        yield read_passphrase(
            click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True), "it"
        )


def _write_new(path: Path, made: MasterKey) -> None:
    try:
        write_key_file(path, made.to_text())
    except FileExistsError:
        raise SealflowError(
            f"{path} exists", hint="Name a new file: a key is never written over another"
        ) from None


def _print_recovery(made: MasterKey, as_json: bool) -> None:
    if as_json:
        print_json({"id": made.kek_id, "recovery_key": made.to_text()}, keys=True)
        return
    echo_exactly(made.to_text())
    echo(
        f"id: {made.kek_id}. This is the only time it is shown: print it, and keep it in a safe. It opens the store in "
        "place of a lost master key.",
        err=True,
    )


@contextlib.contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress | None]:
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task: Any = bar.add_task("re-encrypting", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
