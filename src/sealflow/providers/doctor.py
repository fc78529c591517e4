"""What ``sealflow doctor`` says of ``sealflow.toml``."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from sealflow.errors import SettingsError
from sealflow.model.hosts import is_loopback, normalised
from sealflow.providers.settings import ProviderSettings, load_file
from sealflow.service.doctor import Finding


def examine_config(path: Path | None) -> Iterator[Finding]:
    """Yield what is wrong or weak in the configuration; None: there is none."""
    if path is None:
        return
    try:
        file = load_file(path)
    except SettingsError as error:
        yield Finding("settings", "error", error.message, error.hint or "Correct the file")
        return
    if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        text = f"others can write to {path}, and so say where secrets come from"
        yield Finding("settings", "error", text, f"chmod go-w {path}")
    for provider in file.providers:
        yield from _provider(path, provider)


def _provider(path: Path, provider: ProviderSettings) -> Iterator[Finding]:
    options = provider.options
    where = f"{path}: the provider {provider.name!r}"
    for key in ("address", "endpoint"):
        if _without_tls(options.get(key)):
            yield Finding("settings", "warning", f"{where} is asked without TLS", f"Give {key} as https://…")
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
