"""``sealflow check``: references in workflow files, without running or decrypting anything."""

from __future__ import annotations

from pathlib import Path

import click

from sealflow.cli.common import json_option, print_json


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Check workflow FILEs: their form, their references, and that the secrets exist. Needs no master key.

    Exit code 1 when there is anything to correct: good for CI.
    """
    from sealflow.errors import StoreUnavailableError
    from sealflow.service.service import list_infos
    from sealflow.settings import Settings
    from sealflow.stores.select import open_registry
    from sealflow.workflow.check import Known, check_file

    try:
        registry = open_registry(Settings.load())
    except StoreUnavailableError as error:
        known = Known({}, error)
    else:
        try:
            known = Known({info.name: info for info in list_infos(registry)})
        finally:
            registry.close()
    checked = [check_file(file, known) for file in files]
    findings = [finding for item in checked for finding in item.findings]
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        for item in findings:
            where = f"{item.file}:{item.line}:{item.column}: " + (f"{item.path}: " if item.path else "")
            click.echo(f"{where}{item.problem}" + (f". {item.hint}" if item.hint else ""))
        if not findings:
            count = sum(item.references for item in checked)
            click.echo(
                f"{len(files)} file{'s' * (len(files) != 1)}, {count} reference{'s' * (count != 1)}: nothing to correct"
            )
    if findings:
        click.get_current_context().exit(1)
