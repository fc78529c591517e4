"""The options of providers, as ``sealflow.toml`` gives them: those of every kind, and the base for those of one kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from sealflow.config import Config
from sealflow.errors import SettingsError
from sealflow.model.hosts import is_loopback, normalised
from sealflow.model.names import NAME_RULE, is_name
from sealflow.model.validation import validate
from sealflow.settings import is_own_variable
from sealflow.wording import shown


class Destinations(NamedTuple):
    """Where a provider sends its credentials.

    ``addresses``: URLs such as ``https://vault.example.com``. ``verified``: whether their certificates are verified.
    """

    addresses: tuple[str, ...] = ()
    verified: bool = True


class Strict(BaseModel):
    """Base of everything in the file: unknown keys are refused, and no error shows what was given."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)


class ProviderOptions(Strict):
    """Base of the options of one kind of provider: the keys of its table in ``sealflow.toml``."""

    def destinations(self) -> Destinations:
        """Return where the provider sends its credentials.

        Without an address, a secret with ``allowed_hosts`` is refused as a credential: nobody knows where it would go.
        """
        return Destinations()


def _from_the_file(value: str, info: ValidationInfo) -> str:
    folder = info.context
    try:
        path = Path(value).expanduser()
    except RuntimeError:
        raise ValueError("there is no such home directory: write the whole path") from None
    return str(folder / path if isinstance(folder, Path) else path)


FilePath = Annotated[str, AfterValidator(_from_the_file)]
"""A path, as ``sealflow.toml`` has it: a relative one begins at the folder of that file, and ``~`` is the home folder."""


class Credential(Strict):
    """Where a provider's own credential comes from: exactly one of a file, a variable, a secret of the local store.

    ``secret`` is ``NAME.FIELD``. sealflow's own variables and files are refused.
    """

    file: FilePath | None = None
    env: str | None = None
    secret: str | None = None

    @field_validator("env")
    @classmethod
    def _is_not_ours(cls, name: str | None) -> str | None:
        if name is not None and is_own_variable(name):
            raise ValueError("sealflow's own variables are never a credential")
        return name

    def __repr__(self) -> str:
        kind, place = next((key, value) for key, value in self if value is not None)
        return f"Credential({kind}={place!r})"


Reveal = Callable[[Credential], str]
"""Returns a credential's value. Called as late as the provider needs it, and the result is not kept.

Raises SettingsError, SecretError, or PolicyError where the secret's policy does not allow this provider's address.
"""


def _only_a_source(value: Any) -> Any:
    if isinstance(value, str | int | float):
        raise ValueError(  # noqa: TRY004 - pydantic turns a ValueError into its own
            'never write a credential into the file: write {env = "NAME"}, {file = "path"} or {secret = "name.field"}'
        )
    return value


def _one_source(value: Credential) -> Credential:
    if sum(item is not None for _, item in value) != 1:
        raise ValueError("a credential has exactly one source: env, file or secret")
    return value


CredentialSource = Annotated[Credential, BeforeValidator(_only_a_source), AfterValidator(_one_source)]


class ProviderSettings(Strict):
    """The settings of every provider, whatever its kind. Times are seconds.

    ``timeout``: for one request with its retries. ``ttl``: how long a value is used before the provider is asked again.
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
        """The options of its kind."""
        return dict(self.model_extra or {})


def provider_settings(config: Config) -> list[ProviderSettings]:
    """Return the configured providers in the order in which they are asked: by ``order``, then as they are written.

    Raises SettingsError, which names the file, the provider's number and the key.
    """
    found: list[ProviderSettings] = []
    for number, table in enumerate(config.providers):
        item = check_options(ProviderSettings, table, f"{config.path}: providers[{number}]")
        if not is_name(item.name) or item.name == "local":
            raise SettingsError(
                f"{config.path}: {shown(item.name)} is not a valid provider name",
                hint=f"{NAME_RULE}; local is the store",
            )
        if any(item.name == other.name for other in found):
            raise SettingsError(
                f"{config.path}: two providers are named {item.name!r}", hint="Rename one of them"
            )
        found.append(item)
    places = {item.name: item.order if item.order is not None else place for place, item in enumerate(found)}
    return sorted(found, key=lambda item: places[item.name])


_Model = TypeVar("_Model", bound=BaseModel)


def is_loopback_url(address: str) -> bool:
    """Whether a URL leads to this machine by definition: 127.0.0.0/8, ::1, localhost."""
    try:
        return is_loopback(normalised(urlsplit(address).hostname or ""))
    except ValueError:
        return False


def check_address(address: str, allow_http: bool) -> str:
    """Return a server's address without a slash at its end; ValueError where it is not safe to send credentials there."""
    if not address.startswith(("https://", "http://")):
        raise ValueError("an address begins with https://")
    if address.startswith("http://") and not (allow_http or is_loopback_url(address)):
        raise ValueError(
            "plain http sends credentials in clear text; if you want that, set allow_http = true"
        )
    return address.rstrip("/")


def check_options(model: type[_Model], data: Any, where: str, folder: Path | None = None) -> _Model:
    """Return the validated options; SettingsError says which option is wrong, and where.

    ``folder``: where relative paths begin.
    """
    options, problems = validate(model, data, folder)
    if options is not None:
        return options
    first = problems[0]
    raise SettingsError(
        f"{where}: {first.path}: {first.message}",
        hint=first.hint or "Correct it",
    )
