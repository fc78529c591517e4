"""The credentials that providers are given: from a variable, a file or a secret of the local store."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from sealflow.errors import HostNotAllowedError, SecretError, SettingsError
from sealflow.model import times
from sealflow.model.hosts import is_loopback, normalised
from sealflow.model.policy import Policy
from sealflow.providers.options import Credential, Destinations, Reveal
from sealflow.providers.own_files import read_credential_file
from sealflow.service.secret_service import SecretService


def make_reveal(provider: str, service: SecretService | None, destinations: Destinations) -> Reveal:
    """Return what reads the credentials of one provider, which sends them to ``destinations``."""

    def reveal(credential: Credential) -> str:
        if credential.env is not None:
            value = os.environ.get(credential.env, "")
            if not value:
                raise _no_credential(provider, f"the variable {credential.env} is not set")
            return value
        if credential.file is not None:
            return _from_file(provider, Path(credential.file))
        return _from_store(provider, credential.secret or "", service, destinations)

    return reveal


def _from_file(provider: str, path: Path) -> str:
    value, reason = read_credential_file(path)
    if reason is not None:
        raise _no_credential(provider, f"the file {path} {reason}")
    return value


def _from_store(provider: str, path: str, service: SecretService | None, destinations: Destinations) -> str:
    name, _, field = path.partition(".")
    if service is None:
        raise _no_credential(provider, f"its credential is the secret {path!r}, and there is no local store")
    problem, value = None, None
    try:
        secret = service.get_secret(name)
        value = secret.data.get(field)
    except SecretError as error:
        problem = error.message
    if not isinstance(value, str):
        raise _no_credential(provider, problem or f"the secret {name!r} has no string in the field {field!r}")
    secret.policy.check_use(name, None, times.now())
    _check_destinations(provider, name, secret.policy, destinations)
    return value


def _check_destinations(provider: str, name: str, policy: Policy, destinations: Destinations) -> None:
    """Raise HostNotAllowedError where the secret's policy does not let it go where the provider sends it."""
    if policy.allowed_hosts is None:
        return
    problem = None
    if not destinations.addresses:
        problem = "has allowed_hosts, and nobody knows where this provider sends it"
    elif not destinations.verified:
        problem = "has allowed_hosts, and the server's certificate is not verified"
    for address in destinations.addresses if problem is None else ():
        url = urlsplit(address)
        try:
            host, port = normalised(url.hostname or ""), url.port or (443 if url.scheme == "https" else 80)
        except ValueError:
            problem = f"has allowed_hosts, and {address} does not name a host in its usual form"
            break
        plain_http = url.scheme != "https" and not is_loopback(host)
        if not policy.allows_host(host, port, plain_http=plain_http):
            problem = f"may not be sent to {host}:{port}" + (" without TLS" if plain_http else "")
            break
    if problem is not None:
        raise HostNotAllowedError(
            f"the secret {name!r} is not a credential for the provider {provider!r}: it {problem}",
            hint="Its allowed_hosts say where it may go; add the host there if its owner agrees",
            secret=name,
        )


def _no_credential(provider: str, reason: str) -> SettingsError:
    return SettingsError(
        f"the provider {provider!r} has no credential: {reason}",
        hint="Set it, or correct the credential in sealflow.toml",
    )
