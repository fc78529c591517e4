"""``sealflow.toml``: which providers there are, in which order, and where their credentials come from."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sealflow.errors import SettingsError
from sealflow.model.names import NAME_RULE, is_name
from sealflow.model.wording import shown

_MAX_BYTES = 1 << 20


class Strict(BaseModel):
    """Base of everything in the file: unknown keys are refused, and no error holds what was given."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)


class Credential(Strict):
    """Where a provider's own credential comes from: exactly one of a file, a variable, a secret of the local store."""

    file: str | None = None
    env: str | None = None
    secret: str | None = None

    def __repr__(self) -> str:
        kind, place = next((key, value) for key, value in self if value is not None)
        return f"Credential({kind}={place!r})"


def _only_a_source(value: Any) -> Any:
    if isinstance(value, str | int | float):
        raise ValueError(  # noqa: TRY004 - pydantic turns a ValueError into its own
            'a credential never stands in the file: write {env = "NAME"}, {file = "path"} or {secret = "name.field"}'
        )
    return value


def _one_source(value: Credential) -> Credential:
    if sum(item is not None for _, item in value) != 1:
        raise ValueError("a credential has one source: env, file or secret")
    return value


CredentialSource = Annotated[Credential, BeforeValidator(_only_a_source), AfterValidator(_one_source)]


class ProviderSettings(Strict):
    """What every provider has, whatever its kind. Times are seconds.

    ``timeout``: for one request with its retries. ``ttl``: how long a value is used without asking again.
    ``max_stale``: how old a value may be that is used when the provider cannot answer.
    """

    model_config = ConfigDict(extra="allow")

    name: str
    kind: str
    order: int | None = None
    timeout: float = Field(default=10, gt=0, le=600)
    ttl: float = Field(default=60, ge=0, le=86400)
    max_stale: float = Field(default=0, ge=0, le=7 * 86400)
    attempts: int = Field(default=3, ge=1, le=10)

    @property
    def options(self) -> dict[str, Any]:
        """What its kind takes."""
        return dict(self.model_extra or {})


class ResolverSettings(Strict):
    """``timeout``: seconds for all providers together."""

    timeout: float = Field(default=30, gt=0, le=3600)


class AuditSettings(Strict):
    """``required``: a value is given only once its line in the audit trail is on the disk."""

    required: bool = False


class SealflowFile(Strict):
    audit: AuditSettings = AuditSettings()
    resolver: ResolverSettings = ResolverSettings()
    providers: list[ProviderSettings] = Field(default_factory=list)

    def ordered(self) -> list[ProviderSettings]:
        """Return the providers in the order in which they are asked: by ``order``, then as they are written."""
        numbered = [
            (item.order if item.order is not None else index, index, item)
            for index, item in enumerate(self.providers)
        ]
        return [item for *_, item in sorted(numbered, key=lambda entry: entry[:2])]


def load_file(path: Path | None) -> SealflowFile:
    """Read the configuration; None gives the defaults. SettingsError names the place, and nothing that stands there."""
    if path is None:
        return SealflowFile()
    return _checked(_read(path), path)


def _read(path: Path) -> dict[str, Any]:
    reason = None
    try:
        content = path.read_bytes()
        if len(content) > _MAX_BYTES:
            reason = "is larger than 1 MiB"
        else:
            return tomllib.loads(content.decode())
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        reason = "is not UTF-8"
    except tomllib.TOMLDecodeError as error:
        place = str(error).rpartition("(")[2].rstrip(")")
        reason = f"is no TOML ({place})"
    raise SettingsError(f"{path} {reason}", hint="Correct the file, or the path")


def _checked(data: Mapping[str, Any], path: Path) -> SealflowFile:
    file = validated_settings(SealflowFile, data, str(path))
    seen: set[str] = set()
    for provider in file.providers:
        if not is_name(provider.name) or provider.name == "local":
            raise SettingsError(
                f"{path}: {shown(provider.name)} is no provider name", hint=f"{NAME_RULE}; local is the store"
            )
        if provider.name in seen:
            raise SettingsError(f"{path}: two providers are named {provider.name!r}", hint="Rename one")
        seen.add(provider.name)
    return file


_Model = TypeVar("_Model", bound=BaseModel)


def validated_settings(model: type[_Model], data: Any, where: str) -> _Model:
    """Validate; SettingsError names the place."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    known = ", ".join(model.model_fields)
    hint = f"Known here: {known}" if first["type"] == "extra_forbidden" else "Correct it"
    message = first["msg"].removeprefix("Value error, ")
    raise SettingsError(f"{where}: {place}: {message[:1].lower()}{message[1:]}", hint=hint)
