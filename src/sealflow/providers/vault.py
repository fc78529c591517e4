"""HashiCorp Vault and OpenBao: KV version 2 and 1, through hvac."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import hvac
import requests
from hvac import exceptions as hvac_errors
from pydantic import Field, ValidationInfo, field_validator

from sealflow.errors import (
    ProviderDeniedError,
    ProviderError,
    ProviderMalformedError,
    ProviderUnavailableError,
)
from sealflow.providers.base import ExternalSecretProvider
from sealflow.providers.options import Destinations, FilePath, ProviderOptions, Reveal, check_address
from sealflow.providers.sdk_threads import SdkThreads
from sealflow.providers.vault_login import Login, Token, log_in
from sealflow.wording import shown

_MAX_BYTES = 4 << 20
_RENEW_AT = 2 / 3  # of the lease: time for a second try before it ends

_T = TypeVar("_T")


class VaultOptions(ProviderOptions):
    """docs/how-to/vault.md describes each."""

    allow_http: bool = False
    address: str
    login: Login
    mount: str = "secret"
    kv_version: Literal[1, 2] = 2
    path: str = "{name}"
    version: int | None = Field(default=None, ge=1)
    namespace: str | None = None
    verify_tls: bool = True
    ca_file: FilePath | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    pool_size: int = Field(default=16, ge=1, le=256)

    @field_validator("address")
    @classmethod
    def _is_safe(cls, address: str, info: ValidationInfo) -> str:
        return check_address(address, bool(info.data.get("allow_http")))

    @field_validator("path")
    @classmethod
    def _names_the_secret(cls, path: str) -> str:
        if path.count("{name}") != 1 or "{" in path.replace("{name}", ""):
            raise ValueError("a path holds {name} once, such as apps/{name}")
        return path

    def destinations(self) -> Destinations:
        return Destinations((self.address,), self.verify_tls)


class VaultProvider(ExternalSecretProvider):
    """One server, one mount, one login; the token is renewed before it ends and taken again after it was revoked."""

    Options: ClassVar[type[ProviderOptions]] = VaultOptions

    def __init__(self, name: str, options: VaultOptions, reveal: Reveal, timeout: float) -> None:
        super().__init__(name, options, reveal, timeout)
        self._options = options
        self._reveal = reveal
        self._threads = SdkThreads(name, options.pool_size)
        self._session = _CappedSession(timeout, options.pool_size)
        self._login_lock = threading.Lock()
        self._token: Token | None = None
        self._renew_at = 0.0
        self._version_checked = False

    async def get_secret(self, name: str) -> dict[str, Any] | None:
        path = self._path(name)
        return await self._threads.run(lambda: self._read(path, name))

    async def check(self) -> None:
        await self._threads.run(self._check)

    async def close(self) -> None:
        self._threads.close()
        self._session.close()

    def _path(self, name: str) -> str:
        if any(part in ("", ".", "..") for part in name.split("/")) or not name.isprintable():
            raise ProviderMalformedError(
                f"{shown(name)} is not a valid path of a secret", hint="Correct the name", secret=name
            )
        return self._options.path.format(name=name)

    def _read(self, path: str, name: str) -> dict[str, Any] | None:
        mount = self._options.mount

        def read() -> Any:
            client = self._client(self._valid_token().value)
            kv = client.secrets.kv
            if self._options.kv_version == 1:
                return kv.v1.read_secret(path, mount_point=mount)
            version = self._options.version
            return kv.v2.read_secret_version(
                path, version=version, mount_point=mount, raise_on_deleted_version=True
            )

        answer = self._ask(lambda: self._with_new_token_if_revoked(read), name)
        if answer is None:
            self._check_version_once(name)
            return None
        return self._fields(answer, name)

    def _fields(self, answer: Any, name: str) -> dict[str, Any]:
        data = answer.get("data") if isinstance(answer, dict) else None
        if self._options.kv_version == 2:
            data = data.get("data") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not data:
            if isinstance(answer, requests.Response) and answer.is_redirect:
                reason = "answered with a redirect"
                hint = "Name the server that it redirects to as its address; a token is never sent elsewhere"
            else:
                reason, hint = (
                    "answered something that is not a secret",
                    "Check its address, mount and kv_version",
                )
            raise ProviderMalformedError(f"the provider {self.name!r} {reason}", hint=hint, secret=name)
        return data

    def _check(self) -> None:
        """Ask in the order in which things go wrong: address, TLS, sealed, login, mount."""

        def healthy() -> None:
            client = self._client()
            status = client.sys.read_seal_status()
            if isinstance(status, dict) and (status.get("sealed") or not status.get("initialized")):
                raise hvac_errors.VaultDown("Vault is sealed")
            if not isinstance(status, dict):
                raise hvac_errors.UnexpectedError("not a Vault")

        self._ask(healthy, None)
        self._ask(lambda: self._valid_token(renew=True), None)

        self._check_version(self._ask(self._mount_details, None), None)

    def _mount_details(self) -> Any:
        client = self._client(self._valid_token().value)
        return client.adapter.get(f"/v1/sys/internal/ui/mounts/{self._options.mount}")

    def _check_version_once(self, name: str) -> None:
        """Before the first "not found" is believed: a mount of the other version answers the same to everything."""
        if not self._version_checked:
            try:
                details = self._ask(self._mount_details, None)
            except ProviderError:
                return  # the login may read secrets, and not this
            self._check_version(details, name)

    def _check_version(self, details: Any, name: str | None) -> None:
        data = details.get("data") if isinstance(details, dict) else None
        options = data.get("options") if isinstance(data, dict) else None
        found = int((options or {}).get("version") or 1)
        if found != self._options.kv_version:
            raise ProviderMalformedError(
                f"the mount {self._options.mount!r} is KV version {found}, not {self._options.kv_version}",
                hint=f"Set kv_version = {found} in sealflow.toml",
                secret=name,
            )
        self._version_checked = True

    def _client(self, token: str = "") -> hvac.Client:
        options = self._options
        certificate = (options.client_certificate, options.client_key) if options.client_certificate else None
        return hvac.Client(
            url=options.address,
            token=token,  # "" and not None: hvac would look for one in the environment
            namespace=options.namespace,
            verify=(options.ca_file or True) if options.verify_tls else False,
            cert=certificate,
            timeout=self.timeout,
            allow_redirects=False,  # requests would send the token along
            session=self._session,
        )

    def _valid_token(self, *, renew: bool = False) -> Token:
        """Return a token that has not ended: log in, or renew, where it is time. One thread does it for all."""
        with self._login_lock:
            token = self._token
            if token is not None and not renew and time.monotonic() < self._renew_at:
                return token
            if token is not None and not renew and token.renewable:
                try:
                    auth = self._client(token.value).auth.token.renew_self()["auth"]
                    token = Token(token.value, float(auth["lease_duration"]), bool(auth["renewable"]))
                except (hvac_errors.Forbidden, hvac_errors.InvalidRequest):
                    token = None
            else:
                token = None
            if token is None:
                token = log_in(self._client(), self._options.login, self._reveal)
            self._token = token
            self._renew_at = time.monotonic() + token.lease * _RENEW_AT if token.lease else float("inf")
            return token

    def _with_new_token_if_revoked(self, read: Callable[[], _T]) -> _T:
        """Try once more with a new login when the token, and not its policy, is the reason for a refusal."""
        used = self._token
        try:
            return read()
        except (hvac_errors.Forbidden, hvac_errors.Unauthorized):
            with self._login_lock:
                another = self._token is not used and used is not None
            if not another and self._token is not None and self._still_valid(self._token):
                raise
        self._valid_token(renew=True)
        return read()

    def _still_valid(self, token: Token) -> bool:
        try:
            self._client(token.value).auth.token.lookup_self()
        except (hvac_errors.Forbidden, hvac_errors.Unauthorized):
            return False
        return True

    def _ask(self, work: Callable[[], _T], name: str | None) -> _T | None:
        """Run ``work`` and return its answer, None when there is no such secret.

        hvac's errors do not get further: they may hold headers and bodies.
        """
        try:
            return work()
        except hvac_errors.InvalidPath as error:
            problem = self._no_route(error, name)
        except ProviderError:
            raise
        except (
            hvac_errors.VaultError,
            requests.RequestException,
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
        ) as error:
            problem = self._problem(error, name)
        if problem is None:
            return None
        raise problem

    def _no_route(self, error: hvac_errors.InvalidPath, name: str | None) -> ProviderError | None:
        """Tell a missing secret from a mount that is missing or of the other KV version."""
        text = " ".join(map(str, error.errors or ())) + str(getattr(error, "text", "") or "")
        if (
            name is not None
            and "no handler for route" not in text
            and "Invalid path for a versioned" not in text
        ):
            return None
        return ProviderMalformedError(
            f"the provider {self.name!r} has no KV version {self._options.kv_version} at the mount {self._options.mount!r}",
            hint="Correct mount or kv_version in sealflow.toml",
            secret=name,
        )

    def _problem(self, error: Exception, name: str | None) -> ProviderError:
        """Return ours for hvac's or requests' error, by the first line of the table that fits."""
        fits = next(line for line in _PROBLEMS if isinstance(error, line.kinds))
        found = fits.problem(
            f"the provider {self.name!r} ({self._options.address}) {fits.reason}", hint=fits.hint, secret=name
        )
        if isinstance(found, ProviderUnavailableError):
            found.retry_after = self._session.retry_after()
        return found


class _TooLargeError(requests.RequestException):
    pass


class _Problem(NamedTuple):
    kinds: tuple[type[Exception], ...]
    problem: type[ProviderError]
    reason: str
    hint: str


_network = requests.exceptions
_PROBLEMS = tuple(
    _Problem(*line)
    for line in (
        (
            (hvac_errors.Forbidden, hvac_errors.Unauthorized),
            ProviderDeniedError,
            "refused",
            "Check the policy of its login (`sealflow help vault`)",
        ),
        (
            (hvac_errors.InvalidRequest,),
            ProviderDeniedError,
            "refused the login or the request",
            "Check login and namespace",
        ),
        (
            (_network.SSLError,),
            ProviderUnavailableError,
            "has a certificate that is not trusted",
            "Set ca_file in sealflow.toml",
        ),
        ((_TooLargeError,), ProviderMalformedError, "answered more than 4 MiB", "Check its address"),
        (
            (_network.Timeout,),
            ProviderUnavailableError,
            "did not answer in time",
            "Check the server, or raise its timeout",
        ),
        (
            (_network.ChunkedEncodingError, _network.ContentDecodingError),
            ProviderUnavailableError,
            "broke off its answer",
            "Try again",
        ),
        (
            (hvac_errors.VaultDown, hvac_errors.VaultNotInitialized),
            ProviderUnavailableError,
            "is sealed or in maintenance",
            "Unseal it",
        ),
        (
            (hvac_errors.RateLimitExceeded,),
            ProviderUnavailableError,
            "has too many requests",
            "Try again later, or raise its quota",
        ),
        (
            (hvac_errors.InternalServerError, hvac_errors.BadGateway),
            ProviderUnavailableError,
            "has an internal error",
            "Look at its log",
        ),
        (
            (_network.ConnectionError,),
            ProviderUnavailableError,
            "cannot be reached",
            "Check its address, and that it runs",
        ),
        (
            (Exception,),
            ProviderMalformedError,
            "answered something that Vault does not answer",
            "Check its address",
        ),
    )
)


class _CappedSession(requests.Session):
    """Reads answers up to a size and a deadline: requests alone waits as long as bytes drip in."""

    def __init__(self, timeout: float, pool_size: int) -> None:
        super().__init__()
        self._deadline = timeout
        self._last = threading.local()
        adapter = requests.adapters.HTTPAdapter(pool_connections=4, pool_maxsize=pool_size)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def retry_after(self) -> float | None:
        """Return the seconds of the last answer's Retry-After, in this thread."""
        return getattr(self._last, "retry_after", None)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        self._last.retry_after = None
        end = time.monotonic() + self._deadline
        response = super().send(request, **{**kwargs, "stream": True})
        content = bytearray()
        for chunk in response.iter_content(1 << 16):
            content += chunk
            if len(content) > _MAX_BYTES:
                response.close()
                raise _TooLargeError
            if time.monotonic() > end:
                response.close()
                raise requests.exceptions.ReadTimeout
        response._content = bytes(content)  # noqa: SLF001 - requests has no public way to set what was read
        after = response.headers.get("Retry-After", "")
        self._last.retry_after = float(after) if after.isascii() and after.isdigit() else None
        return response
