"""The sources of values in their order: the providers, then the local store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from sealflow.errors import ProviderUnavailableError, SealflowError, SecretNotFoundError
from sealflow.providers.base import ExternalSecretProvider, Found
from sealflow.resolver.local import LOCAL, LocalStore
from sealflow.resolver.provider_source import ProviderSource, ends_search
from sealflow.wording import closest, shown

log = logging.getLogger("sealflow.resolver")

Key = tuple[str | None, str]
"""A provider's name where a reference pins one, and the secret's name."""

Answer = Found | SealflowError


class Chain:
    """Asks the providers in order, then the local store; a pinned reference asks its provider alone.

    A secret that is found is used. After "not found" the next source is asked. Denied and malformed are errors.
    After "unavailable" the next source is asked, and a warning says so when it answers; when none does, the error
    names every provider that was asked and its answer.
    """

    def __init__(self, sources: Sequence[ProviderSource], local: LocalStore | None, timeout: float) -> None:
        self._sources = {source.name: source for source in sources}
        self._local = local
        self._timeout = timeout

    @property
    def providers(self) -> list[ExternalSecretProvider]:
        """The providers, in their order."""
        return [source.provider for source in self._sources.values()]

    def at_once(self, keys: Sequence[Key]) -> dict[Key, Answer]:
        """Return the answers that need no waiting: all of the local store's, and values that are still fresh."""
        if not self._sources:
            search = _Search(keys)
            self._ask_local(search)
            return {key: search.answers.get(key) or self._missing(key, search) for key in keys}
        answers: dict[Key, Answer] = {}
        for key in keys:
            first = next((source for source in self._sources.values() if key[0] in (None, source.name)), None)
            fresh = first.fresh(key[1]) if first is not None else None
            if fresh is not None:
                answers[key] = fresh
        return answers

    async def get_many(self, keys: Iterable[Key]) -> dict[Key, Answer]:
        """Return for each key its secret, or the error that says why there is none."""
        search = _Search(list(keys))
        if self._sources:
            try:
                async with asyncio.timeout(self._timeout):
                    for source in self._sources.values():
                        await self._ask(source, search)
            except TimeoutError:
                search.ran_out(self._timeout)
        self._ask_local(search)
        return {key: search.answers.get(key) or self._missing(key, search) for key in search.keys}

    async def close(self) -> None:
        """Close the providers; whoever opened the local store closes it."""
        for source in self._sources.values():
            await source.close()

    async def _ask(self, source: ProviderSource, search: _Search) -> None:
        keys = [key for key in search.open() if key[0] in (None, source.name)]
        if not keys:
            return
        outcomes = await source.get_many(dict.fromkeys(name for _, name in keys))
        for key in keys:
            outcome = outcomes[key[1]]
            if isinstance(outcome, Found):
                search.found(key, outcome)
            elif isinstance(outcome, SealflowError) and ends_search(outcome):
                search.answers[key] = outcome
            else:
                search.note(key, source.name, outcome)

    def _ask_local(self, search: _Search) -> None:
        keys = [key for key in search.open() if key[0] in (None, LOCAL)]
        if self._local is None or not keys:
            return
        problem = None
        try:
            found = self._local.get_many({name for _, name in keys})
        except SealflowError as error:
            problem, found = error, {}
        for key in keys:
            if problem is not None:
                search.answers[key] = problem
            elif key[1] in found:
                search.found(key, found[key[1]])
            else:
                search.note(key, LOCAL, None)

    def _missing(self, key: Key, search: _Search) -> SealflowError:
        pinned, name = key
        if pinned is not None and pinned != LOCAL and pinned not in self._sources:
            known = (*self._sources, *((LOCAL,) if self._local else ()))
            hint = closest(pinned, known, what="providers")
            return SecretNotFoundError(f"there is no provider {shown(pinned)}", hint=hint, secret=name)
        outcomes = search.outcomes[key]
        unavailable = [error for _, error in outcomes if error is not None]
        if unavailable:
            return _unavailable(name, outcomes, unavailable)
        if self._local is not None and pinned in (None, LOCAL):
            hint = self._local.hint(name)
        else:
            hint = f"Create it in {pinned or 'one of the providers'}, or correct its name"
        asked = ", ".join(source for source, _ in outcomes)
        where = f" (asked: {asked})" if self._sources and asked else ""
        return SecretNotFoundError(f"there is no secret {shown(name)}{where}", hint=hint, secret=name)


def _unavailable(
    name: str,
    outcomes: Sequence[tuple[str, ProviderUnavailableError | None]],
    errors: Sequence[ProviderUnavailableError],
) -> ProviderUnavailableError:
    """Return the error of the only source that was asked, or one that names them all; ``retry_after`` is the shortest."""
    what = f"the secret {shown(name)} could not be resolved"
    if len(outcomes) == 1:
        return errors[0].placed(f"{what} ({outcomes[0][0]})", secret=name)
    answers = "; ".join(f"{source}: {error.message if error else 'not found'}" for source, error in outcomes)
    problem = ProviderUnavailableError(f"{what} ({answers})", hint=errors[0].hint, secret=name)
    problem.retry_after = min((e.retry_after for e in errors if e.retry_after is not None), default=None)
    return problem


class _Search:
    """What is known so far of the keys of one call."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self.keys = keys
        self.answers: dict[Key, Answer] = {}
        self.outcomes: dict[Key, list[tuple[str, ProviderUnavailableError | None]]] = {
            key: [] for key in keys
        }

    def open(self) -> list[Key]:
        return [key for key in self.keys if key not in self.answers]

    def note(self, key: Key, source: str, outcome: object) -> None:
        self.outcomes[key].append(
            (source, outcome if isinstance(outcome, ProviderUnavailableError) else None)
        )

    def found(self, key: Key, found: Found) -> None:
        self.answers[key] = found
        failed = [f"{source}: {error.message}" for source, error in self.outcomes[key] if error is not None]
        if failed:
            log.warning("the secret %s came from %s, because %s", key[1], found.source, "; ".join(failed))
        elif found.stale:
            log.warning(
                "the secret %s is the last known value of %s, which cannot answer now", key[1], found.source
            )

    def ran_out(self, seconds: float) -> None:
        """Note for every open key that the time for all providers together has run out."""
        problem = ProviderUnavailableError(
            f"all providers together took more than {seconds:g} seconds",
            hint="Raise the resolver's timeout in sealflow.toml",
        )
        for key in self.open():
            self.note(key, "providers", problem)
