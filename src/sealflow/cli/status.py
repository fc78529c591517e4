"""``sealflow status``: which project, store, configuration and key a command would use here, and why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from sealflow.audit import FILE as AUDIT_FILE
from sealflow.cli.common import json_option
from sealflow.cli.terminal import echo, print_json
from sealflow.config import Config, find_config, load_config
from sealflow.crypto.key_sources import name_key_source
from sealflow.errors import SealflowError, attempt
from sealflow.project import Project, find_project
from sealflow.settings import CONFIG, STORAGE_PATH, Settings
from sealflow.stores.select import existing_backend, no_store, open_registry
from sealflow.trust import is_trusted, trust_hint


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show the project, store, configuration and key that commands use in this folder, and why.

    It opens nothing with a key, makes nothing, and asks no provider. `sealflow doctor` says what is wrong with a store.
    """
    project = find_project()
    settings = Settings.load(project=project)
    store = _store(settings)
    config, described_config = _config(project)
    described = {
        "project": {
            "folder": str(project.folder) if project.marks else None,
            "has": list(project.marks),
            "looked_in": [str(folder) for folder in project.looked_in],
            "search_ended": project.ended,
        },
        "store": store,
        "config": described_config,
        "trusted": is_trusted(project.folder),
        "master_key": name_key_source(store["store_id"]),
        "audit": _audit(settings.path, config, exists=store["backend"] is not None),
    }
    if as_json:
        print_json(described)
        return
    for line in _lines(described, project):
        echo(line)


def _store(settings: Settings) -> dict[str, Any]:
    """Describe the store; what is wrong with it is its ``problem``, and not an error."""
    described: dict[str, Any] = {
        "path": str(settings.path),
        "why": "in the project" if settings.project is not None else f"named by {STORAGE_PATH}",
        "backend": None,
        "store_id": None,
        "problem": None,
    }
    try:
        described["backend"] = existing_backend(settings)
        if described["backend"] is None:
            raise no_store(settings)
        with open_registry(settings) as registry:
            described["store_id"] = registry.store_id
    except SealflowError as error:
        described["problem"] = str(error)
    return described


def _config(project: Project) -> tuple[Config, dict[str, Any]]:
    """Return the configuration, or the defaults where it cannot be used, and its description."""
    path, error = attempt((SealflowError,), find_config, None, project)
    config, unusable = attempt((SealflowError,), load_config, path)
    problem = error or unusable
    described = {
        "path": None if path is None else str(path),
        "why": f"named by {CONFIG}" if os.environ.get(CONFIG) else "in the project",
        "providers": [str(item.get("name")) for item in (config or Config()).providers],
        "problem": None if problem is None else str(problem),
    }
    return config or Config(), described


def _audit(storage: Path, config: Config, *, exists: bool) -> dict[str, Any]:
    return {
        "path": str(storage / AUDIT_FILE) if exists else None,
        "writable": exists and os.access(storage, os.W_OK),
        "required": config.audit_required,
    }


def _lines(described: dict[str, Any], project: Project) -> list[str]:
    store, config, audit = described["store"], described["config"], described["audit"]
    if project.marks:
        lines = [f"project: {project.folder} (it has {' and '.join(project.marks)})"]
    else:
        looked = ", ".join(map(str, project.looked_in))
        lines = [f"project: none (looked in {looked}; no further, because {project.ended})"]
    if store["problem"] is None:
        lines.append(f"store: {store['path']} ({store['backend']}, id {store['store_id']}, {store['why']})")
    else:
        lines.append(f"store: none: {store['problem']}")
    if config["problem"] is not None:
        lines.append(f"configuration: not used: {config['problem']}")
    elif config["path"] is None:
        lines.append("configuration: none")
    else:
        lines.append(f"configuration: {config['path']} ({config['why']})")
    lines.append(f"providers: {', '.join(config['providers']) or 'none'}")
    trusted = described["trusted"]
    lines.append(f"trusted: {'yes' if trusted else f'no. {trust_hint(project.folder)}'}")
    lines.append(f"master key: {described['master_key'] or 'none is configured'}")
    if audit["path"] is None:
        lines.append("audit trail: none")
    else:
        lines.append(f"audit trail: {audit['path']}{'' if audit['writable'] else ' (cannot be written)'}")
    return lines
