"""AWS Secrets Manager, through boto3."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSLError,
)
from pydantic import Field, ValidationInfo, field_validator

from sealflow.errors import (
    ProviderDeniedError,
    ProviderError,
    ProviderMalformedError,
    ProviderUnavailableError,
    SettingsError,
)
from sealflow.providers.base import ExternalSecretProvider
from sealflow.providers.options import CredentialSource, Destinations, ProviderOptions, Reveal, check_address
from sealflow.providers.sdk_threads import SdkThreads

BATCH = 20  # the API's limit for BatchGetSecretValue

_DENIED = {
    "AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException",
    "ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch", "DecryptionFailure", "MissingAuthenticationToken",
    "IncompleteSignature", "OptInRequired",
}  # fmt: skip
_UNAVAILABLE = {
    "ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "InternalServiceError",
    "InternalServiceErrorException", "InternalFailure", "ServiceUnavailable", "ServiceUnavailableException", "RequestTimeout",
}  # fmt: skip

_T = TypeVar("_T")


class AwsOptions(ProviderOptions):
    """docs/how-to/aws.md describes each. Without credentials here the SDK's own chain is used."""

    region: str | None = None
    profile: str | None = None
    allow_http: bool = False
    endpoint: str | None = None
    role_arn: str | None = None
    role_session_name: str = "sealflow"
    external_id: str | None = None
    access_key_id: CredentialSource | None = None
    secret_access_key: CredentialSource | None = None
    session_token: CredentialSource | None = None
    secret_name: str = "{name}"  # noqa: S105 - a template
    version_id: str | None = None
    version_stage: str | None = None
    pool_size: int = Field(default=16, ge=1, le=256)

    @field_validator("secret_name")
    @classmethod
    def _names_the_secret(cls, template: str) -> str:
        if template.count("{name}") != 1 or "{" in template.replace("{name}", ""):
            raise ValueError("secret_name holds {name} once, such as prod/{name}")
        return template

    @field_validator("endpoint")
    @classmethod
    def _is_safe(cls, endpoint: str | None, info: ValidationInfo) -> str | None:
        return None if endpoint is None else check_address(endpoint, bool(info.data.get("allow_http")))

    def destinations(self) -> Destinations:
        """Return the endpoint, or those of the region; none where only the SDK knows the region."""
        if self.endpoint is not None:
            return Destinations((self.endpoint,))
        if self.region is None:
            return Destinations()
        domain = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        services = ("secretsmanager", "sts") if self.role_arn is not None else ("secretsmanager",)
        return Destinations(tuple(f"https://{service}.{self.region}.{domain}" for service in services))


class AwsProvider(ExternalSecretProvider):
    """One account and region."""

    Options: ClassVar[type[ProviderOptions]] = AwsOptions

    def __init__(self, name: str, options: AwsOptions, reveal: Reveal, timeout: float) -> None:
        super().__init__(name, options, reveal, timeout)
        self._options = options
        self._reveal = reveal
        self._threads = SdkThreads(name, options.pool_size)
        self._lock = threading.Lock()
        self._made: Any = None

    async def get_secret(self, name: str) -> dict[str, Any] | None:
        return await self._threads.run(lambda: self._one(name))

    async def get_secrets(self, names: Iterable[str]) -> dict[str, dict[str, Any] | None | ProviderError]:
        """Fetch several with one call for every 20; the error of a name is in the place of its fields."""
        names = list(names)
        if len(names) == 1 or self._options.version_id or self._options.version_stage:
            return await self._threads.run(lambda: {name: self._one_or_error(name) for name in names})
        return await self._threads.run(lambda: self._batches(names))

    async def check(self) -> None:
        await self._threads.run(self._check)

    async def close(self) -> None:
        self._threads.close()
        if self._made is not None:
            self._made.close()

    def _one(self, name: str) -> dict[str, Any] | None:
        options = self._options
        stage = {"VersionStage": options.version_stage} if options.version_stage else {}
        version = {"VersionId": options.version_id} if options.version_id else {}
        answer = self._ask(
            lambda: self._client().get_secret_value(SecretId=self._id(name), **stage, **version), name
        )
        return None if answer is None else self._fields(answer, name)

    def _one_or_error(self, name: str) -> dict[str, Any] | None | ProviderError:
        try:
            return self._one(name)
        except ProviderError as error:
            return error

    def _batches(self, names: list[str]) -> dict[str, dict[str, Any] | None | ProviderError]:
        found: dict[str, dict[str, Any] | None | ProviderError] = {}
        for start in range(0, len(names), BATCH):
            part = names[start : start + BATCH]
            ids = {self._id(name): name for name in part}
            call = partial(self._batch_call, list(ids))
            try:
                answer = self._ask(call, None)
            except ProviderDeniedError:
                answer = None  # batches need a permission of their own: ask one by one
            if answer is None:
                found.update({name: self._one_or_error(name) for name in part})
                continue
            found.update(dict.fromkeys(part))
            for value in answer.get("SecretValues", ()):
                name = ids.get(value.get("Name"), ids.get(value.get("ARN"), ""))
                if name:
                    found[name] = self._fields_or_error(value, name)
            for error in answer.get("Errors", ()):
                name = ids.get(error.get("SecretId"), "")
                if name:
                    found[name] = self._by_code(str(error.get("ErrorCode")), name)
        return found

    def _batch_call(self, ids: list[str]) -> Any:
        return self._client().batch_get_secret_value(SecretIdList=ids)

    def _fields_or_error(self, value: dict[str, Any], name: str) -> dict[str, Any] | ProviderError:
        try:
            return self._fields(value, name)
        except ProviderError as error:
            return error

    def _fields(self, answer: dict[str, Any], name: str) -> dict[str, Any]:
        """JSON objects give their fields, other text and bytes (as base64) the field ``value``."""
        text = answer.get("SecretString")
        if text is None and isinstance(answer.get("SecretBinary"), bytes):
            return {"value": base64.b64encode(answer["SecretBinary"]).decode()}
        if not isinstance(text, str):
            raise ProviderMalformedError(
                f"the provider {self.name!r} gave no secret", hint="Check its endpoint", secret=name
            )
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            data = None
        return data if isinstance(data, dict) and data else {"value": text}

    def _check(self) -> None:
        """Ask for a name that no secret has: not found means that address, login and permission are right."""
        self._ask(lambda: self._client().get_secret_value(SecretId=self._id("sealflow-provider-test")), "")

    def _id(self, name: str) -> str:
        return self._options.secret_name.format(name=name)

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._session().client(
                    "secretsmanager", endpoint_url=self._options.endpoint, config=self._config()
                )
            return self._made

    def _config(self) -> Config:
        # Retries are the resolver's: two layers of them would multiply.
        return Config(
            connect_timeout=self.timeout,
            read_timeout=self.timeout,
            retries={"total_max_attempts": 1},
            max_pool_connections=self._options.pool_size,
            # Credentials of ours go to the addresses of `destinations`, whatever the SDK's own files say.
            ignore_configured_endpoint_urls=self._options.access_key_id is not None,
        )

    def _session(self) -> Any:
        options = self._options
        given = {
            key: self._reveal(source)
            for key, source in (
                ("aws_access_key_id", options.access_key_id),
                ("aws_secret_access_key", options.secret_access_key),
                ("aws_session_token", options.session_token),
            )
            if source is not None
        }
        session = boto3.Session(profile_name=options.profile, region_name=options.region, **given)
        if options.role_arn is None:
            return session
        external = {"ExternalId": options.external_id} if options.external_id else {}
        return boto3.Session(
            botocore_session=_assumed(
                session, options.role_arn, options.role_session_name, external, options.endpoint
            ),
            region_name=options.region or session.region_name,
        )

    def _ask(self, work: Callable[[], _T], name: str | None) -> _T | None:
        """Run ``work`` and return its answer, None when there is no such secret. The SDK's errors do not get further."""
        code = None
        try:
            return work()
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code"))
        except BotoCoreError as error:
            problem: ProviderError | None = self._problem(error, name)
        except (SettingsError, ProviderError):
            raise
        except (ValueError, TypeError, KeyError):
            problem = ProviderMalformedError(
                f"the provider {self.name!r} cannot use its settings or the answer",
                hint="Check them",
                secret=name,
            )
        if code is not None:
            problem = self._by_code(code, name)
        if problem is None:
            return None
        raise problem

    def _by_code(self, code: str, name: str | None) -> ProviderError | None:
        # AWS answers InvalidRequestException for a secret that is marked for deletion.
        if code in ("ResourceNotFoundException", "InvalidRequestException"):
            return None
        who = f"the provider {self.name!r}"
        if code in _DENIED:
            return ProviderDeniedError(
                f"{who} refused ({code})",
                hint="Check its credentials and the IAM policy (`sealflow help aws`)",
                secret=name,
            )
        if code in _UNAVAILABLE or code.startswith("5"):
            return ProviderUnavailableError(
                f"{who} cannot answer now ({code})", hint="Try again later", secret=name
            )
        safe = code if code.isalnum() and len(code) < 60 else "an unknown error"
        return ProviderMalformedError(
            f"{who} answered {safe}", hint="Check the name and its settings", secret=name
        )

    def _problem(self, error: BotoCoreError, name: str | None) -> ProviderError:
        who = f"the provider {self.name!r}"
        if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
            return ProviderDeniedError(
                f"{who} has no AWS credentials",
                hint="Set them as for the AWS command line, or in sealflow.toml",
                secret=name,
            )
        if isinstance(error, NoRegionError):
            return ProviderMalformedError(
                f"{who} has no region", hint="Set region in sealflow.toml, or AWS_REGION", secret=name
            )
        if isinstance(error, SSLError):
            return ProviderUnavailableError(
                f"{who} has a certificate that is not trusted", hint="Check its endpoint", secret=name
            )
        if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
            return ProviderUnavailableError(
                f"{who} did not answer in time", hint="Try again, or raise its timeout", secret=name
            )
        if isinstance(error, EndpointConnectionError | HTTPClientError):
            return ProviderUnavailableError(
                f"{who} cannot be reached", hint="Check region, endpoint and network", secret=name
            )
        return ProviderMalformedError(
            f"{who} answered something that cannot be read ({type(error).__name__})",
            hint="Check its endpoint",
            secret=name,
        )


def _assumed(session: Any, role: str, name: str, external: dict[str, str], endpoint: str | None) -> Any:
    """Return a botocore session whose credentials come from a role, and are renewed before they end."""
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.session import get_session

    source = session._session  # noqa: SLF001 - botocore has no public name for it
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=lambda service, **given: source.create_client(
            service, **{**given, "endpoint_url": endpoint} if endpoint else given
        ),
        source_credentials=session.get_credentials(),
        role_arn=role,
        extra_args={"RoleSessionName": name, **external},
    )
    assumed = get_session()
    assumed._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")  # noqa: SLF001 - botocore has no public name for it
    return assumed
