"""``sealflow.toml``: found, read and checked once. What a provider's own options mean is its kind's to check."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealflow.errors import SettingsError, attempt
from sealflow.project import CONFIG_FILE, Project, find_project
from sealflow.settings import CONFIG
from sealflow.trust import require_trusted_file

_MAX_BYTES = 1 << 20
_RESOLVER_TIMEOUT = 30.0
_SECTIONS = {"audit": ("required",), "resolver": ("timeout",)}


@dataclass(frozen=True, slots=True)
class Config:
    """``sealflow.toml``, or the defaults where there is none (``path`` None).

    ``audit_required``: a value is given only once its line in the audit trail is on the disk. ``resolver_timeout``:
    seconds for all providers together, at most 3600. ``providers``: their tables, in the order of the file.
    """

    path: Path | None = None
    audit_required: bool = False
    resolver_timeout: float = _RESOLVER_TIMEOUT
    providers: tuple[Mapping[str, Any], ...] = ()


def find_config(given: str | os.PathLike[str] | None = None, project: Project | None = None) -> Path | None:
    """Return the path that is given, else the one that the variable names, else ``sealflow.toml`` of the project.

    ``project``: default the one that the current folder belongs to. The argument and the variable are the owner's word.
    A file that is only found needs a trusted folder: TrustError.
    """
    if given is not None:
        return Path(given)
    if os.environ.get(CONFIG):
        return Path(os.environ[CONFIG])
    path = (find_project() if project is None else project).folder / CONFIG_FILE
    return require_trusted_file(path, str(path)) if os.path.lexists(path) else None


def load_config(path: Path | None) -> Config:
    """Read the configuration; None gives the defaults.

    Raises SettingsError, which names the file and the key, and never repeats a value.
    """
    if path is None:
        return Config()
    data = _read(path)
    _check_keys(path, "", data, (*_SECTIONS, "providers"))
    for section, known in _SECTIONS.items():
        table = data.get(section, {})
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: {section} must be a table", hint=f"Write [{section}]")
        _check_keys(path, f"{section}.", table, known)
    required = data.get("audit", {}).get("required", False)
    if not isinstance(required, bool):
        raise SettingsError(f"{path}: audit.required must be true or false", hint="Correct the file")
    timeout = data.get("resolver", {}).get("timeout", _RESOLVER_TIMEOUT)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= 3600:
        raise SettingsError(
            f"{path}: resolver.timeout must be a number of seconds, more than 0 and at most 3600",
            hint="Correct the file",
        )
    providers = data.get("providers", [])
    if not isinstance(providers, list) or not all(isinstance(item, dict) for item in providers):
        raise SettingsError(f"{path}: providers must be a list of tables", hint="Write [[providers]]")
    return Config(path, required, float(timeout), tuple(providers))


def has_providers(path: Path | None) -> bool:
    """Whether a configuration names providers, so that a project needs no store; False where it cannot be read."""
    config, _ = attempt((SettingsError,), load_config, path)
    return config is not None and bool(config.providers)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
        if len(content) <= _MAX_BYTES:
            return tomllib.loads(content.decode())
        reason = "is larger than 1 MiB"
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        reason = "is not UTF-8"
    except tomllib.TOMLDecodeError as error:
        place = str(error).rpartition("(")[2].rstrip(")")  # the rest of the message may quote the file
        reason = f"is not valid TOML ({place})"
    except RecursionError:
        reason = "is nested too deeply"
    raise SettingsError(f"{path} {reason}", hint="Correct the file, or the path")


def _check_keys(path: Path, above: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = next((key for key in table if key not in known), None)
    if unknown is not None:
        raise SettingsError(
            f"{path}: {above}{unknown[:40]} is not a setting", hint=f"Known here: {', '.join(known)}"
        )
