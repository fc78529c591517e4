"""Resolver and ExecutionScope: references become values, once an execution."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

from sealflow.errors import (
    FieldNotFoundError,
    SealflowError,
    SecretExpiredError,
    StoreUnavailableError,
    WorkflowNotAllowedError,
)
from sealflow.model import times
from sealflow.model.jsonvalue import copied
from sealflow.model.names import closest, shown
from sealflow.model.policy import Policy
from sealflow.model.references import Place, Reference, references_in, spelled_path, substituted
from sealflow.providers.base import ExternalSecretProvider, Found
from sealflow.providers.local import LocalStore
from sealflow.providers.settings import ProviderSettings
from sealflow.resolver.chain import Chain, Key
from sealflow.resolver.redactor import Redactor
from sealflow.resolver.source import ProviderSource
from sealflow.service.service import SecretService
from sealflow.stores.audit import AuditLog, Event


@runtime_checkable
class SecretResolver(Protocol):
    """From reference to value. Raises the errors of SecretError, PolicyError, ProviderError, TamperedError."""

    async def resolve(self, name: str, field: str | None = None) -> Any:
        """Return the value of one field (a dotted path), or the mapping of all fields."""
        ...

    async def resolve_config(self, config: Any) -> Any:
        """Return a copy of ``config`` with every reference replaced by its value."""
        ...


class SecretUse(NamedTuple):
    """A secret that a config refers to, and what its owner allows."""

    name: str
    source: str
    policy: Policy


class Resolved(NamedTuple):
    """A config with its values, and the secrets that are in it."""

    config: Any
    uses: tuple[SecretUse, ...]


class Resolver:
    """The chain of sources, for as long as a program runs; ``scope()`` gives one execution its own cache.

    ``await resolver.resolve("github", "token")`` and ``resolve_config(config)`` outside a workflow open a scope
    for that one call. Use it as an asynchronous context manager, or ``await close()``.
    """

    def __init__(
        self,
        service: SecretService | None,
        providers: Sequence[ExternalSecretProvider | ProviderSource] = (),
        *,
        timeout: float = 30,
    ) -> None:
        """``providers`` are asked in their order, before the local store; ``timeout``: seconds for all of them."""
        sources = [item if isinstance(item, ProviderSource) else _source(item) for item in providers]
        self._chain = Chain(sources, LocalStore(service) if service is not None else None, timeout)
        self._audit = service.audit if service is not None else None

    @property
    def providers(self) -> list[ExternalSecretProvider]:
        """The providers, in the order in which they are asked."""
        return self._chain.providers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the providers; the service stays open for its owner."""
        await self._chain.close()

    def scope(self, workflow: str | None = None, execution: str | None = None) -> ExecutionScope:
        """Return a new scope: use it as an asynchronous context manager."""
        return ExecutionScope(self._chain, workflow, execution, self._audit)

    async def resolve(self, name: str, field: str | None = None) -> Any:
        """See SecretResolver."""
        async with self.scope() as scope:
            return await scope.resolve(name, field)

    async def resolve_config(self, config: Any) -> Any:
        """See SecretResolver."""
        async with self.scope() as scope:
            return await scope.resolve_config(config)


def _source(provider: ExternalSecretProvider) -> ProviderSource:
    """Return a provider that was made in code with the settings that the file would give it."""
    return ProviderSource(provider, ProviderSettings(name=provider.name, kind="code"))


class ExecutionScope:
    """One execution's view of the secrets: each is asked for once, and dropped when the scope closes."""

    def __init__(
        self, chain: Chain, workflow: str | None, execution: str | None, audit: AuditLog | None = None
    ) -> None:
        self._chain = chain
        self._audit = audit
        self._cache: dict[Key, Found | asyncio.Future[Found]] = {}
        self._fetches: set[asyncio.Task[None]] = set()
        self._closed = False
        self.workflow = workflow
        self.execution = execution
        self.redactor = Redactor()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Drop the cache and what is still being fetched; nothing is resolved afterwards."""
        self._closed = True
        fetches = tuple(self._fetches)
        for task in fetches:
            task.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
        self._cache.clear()

    async def resolve(self, name: str, field: str | None = None) -> Any:
        """See SecretResolver."""
        reference = Reference(name, () if field is None else tuple(field.split(".")))
        found = await self._found([(None, name)])
        return copied(field_of(found[None, name].data, reference, ""))

    async def resolve_config(self, config: Any) -> Any:
        """See SecretResolver."""
        return (await self.resolve_with_uses(config)).config

    async def resolve_with_uses(self, config: Any, node: str | None = None) -> Resolved:
        """Resolve and say which secrets are in the result. An error names the place in the config."""
        keys: dict[Key, Place] = {}
        for place, reference in references_in(config):
            keys.setdefault((reference.provider, reference.name), place)
        found = await self._found(keys, keys, node)
        uses = tuple(SecretUse(key[1], item.source, item.policy) for key, item in found.items())

        def value_of(reference: Reference, place: Place) -> Any:
            return copied(field_of(found[reference.provider, reference.name].data, reference, place))

        return Resolved(substituted(config, value_of), uses)

    async def _found(
        self, keys: Iterable[Key], places: Mapping[Key, Place] | None = None, node: str | None = None
    ) -> dict[Key, Found]:
        """Return each key's secret; fetch those that nobody in this execution has asked for yet."""
        if self._closed:
            raise StoreUnavailableError("the execution has ended", hint="Resolve while it runs")
        keys = list(keys)
        new = [key for key in keys if key not in self._cache]
        failed = self._take_at_once(new) if new else {}
        new = [key for key in new if key not in self._cache and key not in failed]
        if new:
            loop = asyncio.get_running_loop()
            self._cache.update((key, loop.create_future()) for key in new)
            # A task of the scope's own: a node that is cancelled must not take the others' answer with it.
            task = loop.create_task(self._fetch(new))
            self._fetches.add(task)
            task.add_done_callback(self._fetches.discard)
        found: dict[Key, Found] = {}
        problem: SealflowError | None = None
        for key in keys:
            try:
                found[key] = await self._answer(key, failed)
            except SealflowError as error:
                problem = error
            if problem is not None:
                self._note([(key[1], None, key[0])], node, type(problem).__name__)
                raise _at(problem, spelled_path(places[key]) if places else None)
        if self._audit is not None:
            self._note([(key[1], item.version, item.source) for key, item in found.items()], node, "ok")
        return found

    def _note(
        self, secrets: Sequence[tuple[str, int | None, str | None]], node: str | None, outcome: str
    ) -> None:
        """Write into the audit trail who was given what; where that is required, before it is given."""
        if self._audit is not None and secrets:
            self._audit.record(Event("resolve", secrets, outcome, self.workflow, self.execution, node))

    def _take_at_once(self, keys: list[Key]) -> dict[Key, SealflowError]:
        """Put into the cache what needs no waiting; return the errors that are known already."""
        failed: dict[Key, SealflowError] = {}
        for key, answer in self._chain.at_once(keys).items():
            if isinstance(answer, Found):
                self.redactor.add(answer.data)
                self._cache[key] = answer
            else:
                failed[key] = answer
        return failed

    async def _answer(self, key: Key, failed: Mapping[Key, SealflowError]) -> Found:
        if key in failed:
            raise failed[key]
        answer = self._cache[key]
        if isinstance(answer, asyncio.Future):
            answer = await asyncio.shield(answer)
        if answer.policy.expires_at is not None or answer.policy.allowed_workflows is not None:
            self._check_policy(key[1], answer.policy)
        return answer

    async def _fetch(self, keys: list[Key]) -> None:
        futures = {key: future for key in keys if isinstance(future := self._cache[key], asyncio.Future)}
        try:
            answers = await self._chain.get_many(keys)
            for key, answer in answers.items():
                future = futures.pop(key)
                if isinstance(answer, Found):
                    self.redactor.add(answer.data)
                    self._cache[key] = answer
                    future.set_result(answer)
                else:
                    self._fail(key, future, answer)
        finally:
            for key, future in futures.items():
                self._fail(
                    key, future, StoreUnavailableError("resolving was interrupted", hint="Run it again")
                )

    def _fail(self, key: Key, future: asyncio.Future[Found], error: SealflowError) -> None:
        """Tell those who wait, and forget: a retry asks again."""
        if self._cache.get(key) is future:
            del self._cache[key]
        if not future.done():
            future.set_exception(error)
            future.exception()  # nobody may be waiting any more

    def _check_policy(self, name: str, policy: Policy) -> None:
        if policy.expired(times.now()) and policy.expires_at is not None:
            raise SecretExpiredError(
                f"the secret {name!r} expired at {times.to_text(policy.expires_at)}",
                hint="Update it with a new value, a later expires_at, or both",
                secret=name,
            )
        if not policy.allows_workflow(self.workflow):
            used_by = f"the workflow {shown(self.workflow)}" if self.workflow else "code outside a workflow"
            raise WorkflowNotAllowedError(
                f"the secret {name!r} may not be used by {used_by}",
                hint="Add the workflow to its allowed_workflows, if its owner agrees",
                secret=name,
            )


def _at(error: SealflowError, path: str | None) -> SealflowError:
    """Return a fresh copy of an error that several waiters share, with the place where this one asked."""
    kind = type(error)
    return kind(
        error.message, hint=error.hint, secret=error.secret, field=error.field, path=path or error.path
    )


def field_of(data: Mapping[str, Any], reference: Reference, place: Place = "") -> Any:
    """Walk down the reference's field, list items by number; FieldNotFoundError lists what is there."""
    value: Any = data
    for index, segment in enumerate(reference.field):
        if isinstance(value, Mapping) and segment in value:
            value = value[segment]
        elif (
            isinstance(value, list | tuple)
            and segment.isascii()
            and segment.isdigit()
            and int(segment) < len(value)
        ):
            value = value[int(segment)]
        else:
            raise _field_missing(value, reference, index, spelled_path(place))
    return value


def _field_missing(value: Any, reference: Reference, index: int, path: str) -> FieldNotFoundError:
    segment, above = reference.field[index], ".".join(reference.field[:index])
    if isinstance(value, Mapping):
        hint = closest(segment, (str(key) for key in value), what="fields")
    elif isinstance(value, list | tuple):
        hint = f"{above} is a list of {len(value)} items, numbered from 0"
    else:
        hint = f"{above} has no fields below it"
    return FieldNotFoundError(
        f"the secret {reference.name!r} has no field {reference.dotted!r}",
        hint=hint,
        secret=reference.name,
        field=reference.dotted,
        path=path or None,
    )
