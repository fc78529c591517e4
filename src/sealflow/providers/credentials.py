"""The credentials that providers are given: from a variable, a file or a secret of the local store."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from sealflow.errors import SecretError, SettingsError
from sealflow.providers.options import Credential
from sealflow.service.secret_service import SecretService

Reveal = Callable[[Credential], str]
"""Gives a credential's value, as late as the provider asks for it."""


def revealer(provider: str, service: SecretService | None) -> Reveal:
    """Return what reads the credentials of one provider."""

    def reveal(credential: Credential) -> str:
        if credential.env is not None:
            value = os.environ.get(credential.env, "")
            if not value:
                raise _no_credential(provider, f"the variable {credential.env} is not set")
            return value
        if credential.file is not None:
            return _from_file(provider, Path(credential.file).expanduser())
        return _from_store(provider, credential.secret or "", service)

    return reveal


def _from_file(provider: str, path: Path) -> str:
    reason = None
    try:
        value = path.read_text(encoding="utf-8").strip()
        reason = None if value else "is empty"
    except OSError as error:
        value, reason = "", f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        value, reason = "", "is not UTF-8"
    if reason is not None:
        raise _no_credential(provider, f"the file {path} {reason}")
    return value


def _from_store(provider: str, path: str, service: SecretService | None) -> str:
    name, _, field = path.partition(".")
    if service is None:
        raise _no_credential(provider, f"its credential is the secret {path!r}, and there is no local store")
    problem = None
    try:
        value = service.get_secret(name).data.get(field)
    except SecretError as error:
        problem = error.message
        value = None
    if not isinstance(value, str):
        raise _no_credential(provider, problem or f"the secret {name!r} has no text field {field!r}")
    return value


def _no_credential(provider: str, reason: str) -> SettingsError:
    return SettingsError(
        f"the provider {provider!r} has no credential: {reason}",
        hint="Correct it in sealflow.toml, or set it",
    )
