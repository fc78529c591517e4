"""``sealflow export`` and ``sealflow import``: secrets between environments, under a passphrase."""

from __future__ import annotations

from pathlib import Path

import click

from sealflow.cli.common import counted, json_option
from sealflow.cli.completion import complete_secrets
from sealflow.cli.terminal import echo, print_json
from sealflow.crypto.key_file import read_key_file
from sealflow.crypto.master_key import Passphrase, read_passphrase
from sealflow.settings import Settings
from sealflow.wording import quoted

_passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="A file (mode 0600) that holds the passphrase; without this option you are asked.",
)


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete_secrets)
@_passphrase_option
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), help="The new file.")
@json_option
def export(names: tuple[str, ...], passphrase_file: Path | None, target: Path, as_json: bool) -> None:
    """Write secrets (NAMES, or all) to one encrypted file, for an environment with another master key.

    It holds the newest version of each. Anyone who has the file and the passphrase has the secrets.
    """
    from sealflow.operations import export_bundle
    from sealflow.service.open_service import open_existing

    passphrase = _passphrase(passphrase_file, confirm=True)
    with open_existing() as service:
        count = export_bundle(service, target, passphrase, names or None)
    if as_json:
        print_json({"path": str(target), "secrets": count})
    else:
        echo(
            f"Wrote {counted(count, 'secret')} to {target}. Next, in the other environment: sealflow import {quoted(target)}"
        )


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@_passphrase_option
@click.option("--skip-existing", is_flag=True, help="Leave secrets that already exist as they are.")
@click.option("--update", is_flag=True, help="Make a new version of secrets that already exist.")
@json_option
def import_(
    file: Path, passphrase_file: Path | None, skip_existing: bool, update: bool, as_json: bool
) -> None:
    """Import the secrets of FILE, which `sealflow export` wrote, into this store: all of them or none."""
    from sealflow.operations import import_bundle
    from sealflow.service.open_service import open_existing

    if skip_existing and update:
        raise click.UsageError("--skip-existing and --update exclude each other")
    passphrase = _passphrase(passphrase_file, confirm=False)
    with open_existing() as service:
        done = import_bundle(
            service, file, passphrase, "skip" if skip_existing else "update" if update else "refuse"
        )
    if as_json:
        print_json(done._asdict())
        return
    echo(
        f"{counted(len(done.created), 'secret')} created, {len(done.updated)} updated, {len(done.skipped)} left as they were."
    )


def _passphrase(file: Path | None, *, confirm: bool) -> Passphrase:
    if file is not None:
        return read_passphrase(read_key_file(file, Settings.load().path), f"the passphrase file {file}")
    import sys

    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for the passphrase: use --passphrase-file")
    text = click.prompt("Passphrase of the bundle", hide_input=True, confirmation_prompt=confirm, err=True)
    return read_passphrase(text, "the passphrase")
