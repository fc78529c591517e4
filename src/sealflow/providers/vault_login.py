"""How sealflow logs in to Vault: one options class for each method, and the call that it makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field

from sealflow.errors import SettingsError
from sealflow.providers.options import CredentialSource, FilePath, Reveal, Strict
from sealflow.providers.own_files import read_credential_file

if TYPE_CHECKING:
    import hvac


class Token(NamedTuple):
    """A token with its lease in seconds (0: for ever)."""

    value: str
    lease: float
    renewable: bool

    def __repr__(self) -> str:
        return f"Token(***, lease={self.lease})"


class TokenLogin(Strict):
    method: Literal["token"]
    token: CredentialSource


class TokenFileLogin(Strict):
    """A file that an agent keeps up to date; read again whenever a new login is needed."""

    method: Literal["token_file"]
    path: FilePath


class AppRoleLogin(Strict):
    method: Literal["approle"]
    role_id: CredentialSource
    secret_id: CredentialSource | None = None
    mount: str = "approle"


class UserpassLogin(Strict):
    method: Literal["userpass"]
    username: str
    password: CredentialSource
    mount: str = "userpass"


class KubernetesLogin(Strict):
    method: Literal["kubernetes"]
    role: str
    jwt_file: FilePath = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    mount: str = "kubernetes"


class JwtLogin(Strict):
    method: Literal["jwt"]
    role: str
    jwt: CredentialSource
    mount: str = "jwt"


Login = Annotated[
    TokenLogin | TokenFileLogin | AppRoleLogin | UserpassLogin | KubernetesLogin | JwtLogin,
    Field(discriminator="method"),
]


def log_in(client: hvac.Client, login: Login, reveal: Reveal) -> Token:
    """Log in and return the token; raises hvac's errors, and SettingsError where a credential is missing."""
    if isinstance(login, TokenLogin):
        return _look_up(client, reveal(login.token))
    if isinstance(login, TokenFileLogin):
        return _look_up(client, _read_file(login.path))
    if isinstance(login, AppRoleLogin):
        secret_id = reveal(login.secret_id) if login.secret_id is not None else None
        answer = client.auth.approle.login(
            reveal(login.role_id), secret_id, use_token=False, mount_point=login.mount
        )
    elif isinstance(login, UserpassLogin):
        answer = client.auth.userpass.login(
            login.username, reveal(login.password), use_token=False, mount_point=login.mount
        )
    elif isinstance(login, KubernetesLogin):
        answer = client.auth.kubernetes.login(
            login.role, _read_file(login.jwt_file), use_token=False, mount_point=login.mount
        )
    else:
        answer = client.auth.jwt.jwt_login(login.role, reveal(login.jwt), use_token=False, path=login.mount)
    auth = answer["auth"]
    return Token(auth["client_token"], float(auth["lease_duration"]), bool(auth["renewable"]))


def _look_up(client: hvac.Client, token: str) -> Token:
    client.token = token
    data: dict[str, Any] = client.auth.token.lookup_self()["data"]
    return Token(token, float(data.get("ttl") or 0), bool(data.get("renewable")))


def _read_file(path: str) -> str:
    value, reason = read_credential_file(Path(path))
    if reason is None:
        return value
    raise SettingsError(f"the login file {path} {reason}", hint="Correct it in sealflow.toml")
