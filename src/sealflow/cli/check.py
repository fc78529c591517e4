"""``sealflow check``: references in workflow files, without running anything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealflow.cli.common import json_option
from sealflow.cli.provider import config_option
from sealflow.cli.terminal import echo, print_json
from sealflow.cli.trust import folder_to_trust, trust_for_this_command, trust_option
from sealflow.config import find_config, has_providers
from sealflow.errors import SealflowError, StoreUnavailableError, TrustError, attempt
from sealflow.project import CONFIG_FILE, Project, find_project
from sealflow.trust import find_file_problem

if TYPE_CHECKING:
    from sealflow.model.references import Reference
    from sealflow.workflow.check import Ask, Known


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--providers", is_flag=True, help="Also ask the providers for what is not in the local store.")
@config_option
@trust_option
@json_option
def check(
    files: tuple[Path, ...], providers: bool, config: Path | None, trust_now: bool, as_json: bool
) -> None:
    """Check workflow FILEs: their form, their references, and that the secrets exist. Needs no master key.

    In a folder that you have not trusted, it also reports what needs trust. It never runs code of the folder. Exit code
    1 when there is anything to correct: good for CI.
    """
    from sealflow.workflow.check import Checked, Finding, check_file

    if trust_now:
        trust_for_this_command(map(folder_to_trust, files))
    trusted = {file: find_file_problem(file) is None for file in files}
    beside = files[0].absolute().parent
    project = find_project(beside)
    path, refused = attempt((TrustError,), find_config, config, project)
    known = known_secrets(project, path)
    asked = providers and refused is None
    with _asking(config, beside) if asked else contextlib.nullcontext() as ask:
        checked = [
            check_file(file, known._replace(ask=ask if trusted[file] else None), trusted=trusted[file])
            for file in files
        ]
    if refused is not None:
        finding = Finding(str(project.folder / CONFIG_FILE), 1, 1, "", None, refused.message, refused.hint)
        checked.append(Checked([finding], []))
    findings = [finding for item in checked for finding in item.findings]
    for warning in (text for file in checked for text in file.warnings):
        echo(f"sealflow: warning: {warning}", err=True)
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        for item in findings:
            where = f"{item.file}:{item.line}:{item.column}: " + (f"{item.path}: " if item.path else "")
            echo(f"{where}{item.problem}" + (f". {item.hint}" if item.hint else ""))
        if not findings:
            count = sum(item.references for item in checked)
            echo(
                f"{len(files)} file{'s' * (len(files) != 1)}, {count} reference{'s' * (count != 1)}: nothing to correct"
            )
    if findings:
        click.get_current_context().exit(1)


def known_secrets(project: Project, config: Path | None) -> Known:
    """Return the secrets of the project's store, from their metadata; a project with providers alone needs no store."""
    from sealflow.service.describe import list_infos
    from sealflow.settings import Settings
    from sealflow.stores.select import open_registry
    from sealflow.workflow.check import Known

    try:
        registry = open_registry(Settings.load(project=project))
    except StoreUnavailableError as error:
        return Known({}, error, elsewhere=has_providers(config))
    with registry:
        return Known({info.name: info for info in list_infos(registry)})


def needs_trust(file: Path, config: Path | None) -> bool:
    """Whether a workflow file, or the configuration beside it, asks for what needs a folder that is trusted."""
    from sealflow.workflow.check import check_file

    project = find_project(file.absolute().parent)
    path, refused = attempt((TrustError,), find_config, config, project)
    if refused is not None:
        return True
    known = known_secrets(project, path)
    return check_file(file, known, trusted=False).findings != check_file(file, known).findings


@contextlib.contextmanager
def _asking(config: Path | None, beside: Path) -> Iterator[Ask]:
    """Yield a function that resolves a reference and returns only the error."""
    from sealflow.resolver.open_resolver import opened_resolver

    with opened_resolver(config, beside=beside, needs_local=False) as resolver, asyncio.Runner() as runner:

        def ask(reference: Reference) -> SealflowError | None:
            try:
                runner.run(resolver.resolve_config(str(reference)))
            except SealflowError as error:
                return error
            return None

        try:
            yield ask
        finally:
            runner.run(resolver.close())
