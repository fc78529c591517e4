"""``sealflow key``: master keys."""

from __future__ import annotations

from pathlib import Path

import click

from sealflow.crypto.key_file import write_key_file
from sealflow.crypto.master_key import MasterKey
from sealflow.errors import SealflowError


@click.group()
def key() -> None:
    """Make and manage master keys."""


@key.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write it to this new file (mode 0600) and print only its id.",
)
def generate(out: Path | None) -> None:
    """Make a master key: for WORKFLOW_SECRETS_MASTER_KEY, or a file that WORKFLOW_SECRETS_MASTER_KEY_FILE names."""
    made = MasterKey.generate()
    if out is None:
        click.echo(made.to_text())
        click.echo(
            f"id: {made.kek_id}. Keep it in a safe place: it opens every secret that it encrypts.", err=True
        )
        return
    try:
        write_key_file(out, made.to_text())
    except FileExistsError:
        raise SealflowError(
            f"{out} exists", hint="Name a new file: a key is never written over another"
        ) from None
    click.echo(f"Wrote a master key with the id {made.kek_id} to {out}")
