"""ExecutionScope: one execution's view of the secrets, from reference to value."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from sealflow.audit import AuditLog, Event
from sealflow.errors import (
    SealflowError,
    StoreUnavailableError,
)
from sealflow.model import times
from sealflow.model.fields import field_of
from sealflow.model.json_value import copied
from sealflow.model.places import DataOf, Place, references_in, spelled_path, substituted
from sealflow.model.policy import Policy
from sealflow.model.references import Reference
from sealflow.providers.base import Found
from sealflow.resolver.carried import CarriedValues, SecretUse
from sealflow.resolver.chain import Chain, Key
from sealflow.resolver.redactor import Redactor

log = logging.getLogger("sealflow.resolver")


class Resolved(NamedTuple):
    """A config with its values, and the secrets that are in it."""

    config: Any
    uses: tuple[SecretUse, ...]


class ExecutionScope:
    """One execution's view of the secrets: each is asked for once, and dropped when the scope closes."""

    def __init__(
        self,
        chain: Chain,
        workflow: str | None,
        execution: str | None,
        audit: AuditLog | None = None,
        *,
        trusted: bool = True,
    ) -> None:
        """``trusted``: False for a workflow of strangers, which may use only secrets whose policy names hosts."""
        self._chain = chain
        self._audit = audit
        self._cache: dict[Key, Found | asyncio.Future[Found]] = {}
        self._fetches: set[asyncio.Task[None]] = set()
        self._closed = False
        self._trusted = trusted
        self.workflow = workflow
        self.execution = execution
        self.redactor = Redactor()
        self.warnings: dict[str, str] = {}
        self._carried = CarriedValues(self.redactor)

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
        self._carried.clear()

    async def resolve(self, name: str, field: str | None = None) -> Any:
        """See SecretResolver."""
        reference = Reference(name, () if field is None else tuple(field.split(".")))
        found = await self._found([(None, name)])
        return copied(field_of(found[None, name].data, reference, ""))

    async def resolve_config(self, config: Any) -> Any:
        """See SecretResolver."""
        return (await self.resolve_with_uses(config)).config

    async def resolve_with_uses(
        self, config: Any, node: str | None = None, data_of: DataOf | None = None
    ) -> Resolved:
        """Return the config with its values, and the secrets that are in it. An error names the place in the config.

        ``data_of`` fills in the workflow's data in the same pass.
        """
        keys: dict[Key, Place] = {}
        for place, reference in references_in(config):
            keys.setdefault((reference.provider, reference.name), place)
        found = await self._found(keys, keys, node)
        uses = tuple(SecretUse(key[1], item.source, item.policy) for key, item in found.items())

        def value_of(reference: Reference, place: Place) -> Any:
            return copied(field_of(found[reference.provider, reference.name].data, reference, place))

        return Resolved(substituted(config, value_of, data_of=data_of), uses)

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
            # The scope owns the task, so a node that is cancelled does not cancel the fetch for the others.
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
                raise problem.placed(path=spelled_path(places[key]) if places else None)
        if self._audit is not None:
            self._note([(key[1], item.version, item.source) for key, item in found.items()], node, "ok")
        return found

    def note_sent(self, uses: Iterable[SecretUse], destination: str) -> None:
        """Record that secrets were sent to a destination: with data, they may go there again."""
        self._carried.note_sent(uses, destination)

    def carried(
        self, request_text: Callable[[], str], uses: Iterable[SecretUse], destination: str
    ) -> tuple[SecretUse, ...]:
        """Return the secrets that a request carries in its data. See CarriedValues."""
        known = {key: item for key, item in self._cache.items() if isinstance(item, Found)}
        return self._carried.find(known, uses, request_text, destination)

    def note_denied(self, names: Iterable[str], node: str, outcome: str) -> None:
        """Write into the audit trail that secrets were resolved and then not sent."""
        self._note([(name, None, None) for name in names], node, outcome)

    def _note(
        self, secrets: Sequence[tuple[str, int | None, str | None]], node: str | None, outcome: str
    ) -> None:
        """Write into the audit trail what was given to whom; where that is required, before it is given."""
        if self._audit is not None and secrets:
            self._audit.record(Event("resolve", secrets, outcome, self.workflow, self.execution, node))

    def _take_at_once(self, keys: list[Key]) -> dict[Key, SealflowError]:
        """Put into the cache what is available without waiting; return the errors that are known already."""
        failed: dict[Key, SealflowError] = {}
        for key, answer in self._chain.at_once(keys).items():
            if isinstance(answer, Found):
                self.redactor.add(answer.confidential)
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
        if not self._trusted and (problem := answer.policy.untrusted_problem(key[1])) is not None:
            raise problem
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
                    self.redactor.add(answer.confidential)
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
        """Give the error to those who wait, and drop the entry: a retry asks again."""
        if self._cache.get(key) is future:
            del self._cache[key]
        if not future.done():
            future.set_exception(error)
            future.exception()  # nobody may be waiting any more

    def _check_policy(self, name: str, policy: Policy) -> None:
        moment = times.now()
        warning = policy.expiry_warning(name, moment)
        if warning is not None and name not in self.warnings:
            self.warnings[name] = warning
            log.warning("%s", warning)
        policy.check_use(name, self.workflow, moment)
