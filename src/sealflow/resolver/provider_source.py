"""One provider as the chain asks it: deadline, retries, circuit breaker, values kept for their time to live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from sealflow.errors import (
    ProviderMalformedError,
    ProviderUnavailableError,
    SealflowError,
)
from sealflow.providers.base import NO_POLICY, ExternalSecretProvider, Found
from sealflow.providers.options import ProviderSettings

BREAK_AFTER = 5
"""Failures in a row after which a provider is not asked for a while."""
BREAK_SECONDS = 10.0

Outcome = Found | SealflowError | None
"""Found, an error, or None: there is no such secret.

The error is a ProviderError of one of the three kinds, or what is wrong with the provider's own credential.
"""


class _Kept(NamedTuple):
    found: Found
    at: float


class ProviderSource:
    """Asks one provider; all executions of a Resolver share it. ``clock`` is monotonic, in seconds."""

    def __init__(
        self,
        provider: ExternalSecretProvider,
        settings: ProviderSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = provider.name
        self.provider = provider
        self._settings = settings
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._flights: dict[str, asyncio.Task[dict[str, Outcome]]] = {}
        self._failures = 0
        self._open_until = 0.0

    def fresh(self, name: str) -> Found | None:
        """Return the value that is still within its time to live."""
        kept = self._kept.get(name)
        return kept.found if kept is not None and self._clock() - kept.at < self._settings.ttl else None

    async def get_many(self, names: Iterable[str]) -> dict[str, Outcome]:
        """Return the outcome for each name; names that are being fetched are waited for, not asked again."""
        answers: dict[str, Outcome] = {}
        missing: list[str] = []
        for name in names:
            fresh = self.fresh(name)
            if fresh is not None:
                answers[name] = fresh
            else:
                missing.append(name)
        new = [name for name in missing if name not in self._flights]
        if new:
            # The fetch is a task of its own, so a caller that is cancelled does not cancel it for the others.
            task = asyncio.create_task(self._fetch(new))
            self._flights.update(dict.fromkeys(new, task))
            task.add_done_callback(lambda _: [self._flights.pop(name, None) for name in new])
        waited = {name: self._flights[name] for name in missing}
        for task in dict.fromkeys(waited.values()):
            outcomes = await asyncio.shield(task)
            answers.update({name: outcomes[name] for name, flight in waited.items() if flight is task})
        return {name: self._or_stale(name, answer) for name, answer in answers.items()}

    async def close(self) -> None:
        """End what is under way, and the provider."""
        for task in set(self._flights.values()):
            task.cancel()
        self._kept.clear()
        await self.provider.close()

    async def _fetch(self, names: list[str]) -> dict[str, Outcome]:
        if self._clock() < self._open_until:
            wait = self._open_until - self._clock()
            problem = ProviderUnavailableError(
                f"the provider {self.name!r} failed {self._failures} times in a row and is not asked for {wait:.0f} more seconds",
                hint="Check it with `sealflow provider test`",
            )
            return dict.fromkeys(names, problem)
        try:
            async with asyncio.timeout(self._settings.timeout):
                answers = await self._batch(names)
        except TimeoutError:
            problem = ProviderUnavailableError(
                f"the provider {self.name!r} did not answer within {self._settings.timeout:g} seconds",
                hint="Check it, or raise its timeout",
            )
            answers = dict.fromkeys(names, problem)
        self._update_breaker(answers)
        return answers

    async def _batch(self, names: list[str]) -> dict[str, Outcome]:
        get_secrets = getattr(self.provider, "get_secrets", None)
        if get_secrets is not None and len(names) > 1:

            async def all_at_once() -> Mapping[str, Any]:
                answers: Mapping[str, Any] = await get_secrets(names)
                return answers

            outcome = await self._retried(all_at_once)
            if isinstance(outcome, SealflowError):
                return dict.fromkeys(names, outcome)
            return {name: self._outcome(outcome.get(name)) for name in names}
        outcomes = await asyncio.gather(*(self._one(name) for name in names))
        return dict(zip(names, outcomes, strict=True))

    async def _one(self, name: str) -> Outcome:
        return self._outcome(await self._retried(lambda: self.provider.get_secret(name)))

    async def _retried(self, ask: Callable[[], Any]) -> Any:
        """Return the answer of ``ask``, or its SealflowError; retry with jitter while the provider is unavailable."""
        problem: SealflowError
        try:
            async for attempt in self._retrying():
                with attempt:
                    return await ask()
        except (
            SealflowError
        ) as error:  # the provider's answer; or its credential is missing, or may not be sent there
            problem = error
        except Exception as error:  # noqa: BLE001 - a third party's provider; its message may contain a value
            problem = ProviderMalformedError(
                f"the provider {self.name!r} raised {type(error).__name__}",
                hint="Report it to the author of the provider",
            )
        return problem

    def _retrying(self) -> AsyncRetrying:
        backoff = wait_random_exponential(multiplier=0.1, max=2)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            retry_after = error.retry_after if isinstance(error, ProviderUnavailableError) else None
            return backoff(state) if retry_after is None else retry_after

        return AsyncRetrying(
            stop=stop_after_attempt(self._settings.attempts),
            wait=wait,
            retry=retry_if_exception_type(ProviderUnavailableError),
            reraise=True,
        )

    def _outcome(self, answer: Any) -> Outcome:
        if answer is None or isinstance(answer, SealflowError):
            return answer
        if not isinstance(answer, Mapping) or not all(isinstance(key, str) for key in answer):
            return ProviderMalformedError(
                f"the provider {self.name!r} did not return a mapping of fields", hint="Correct the provider"
            )
        return Found(answer, NO_POLICY, self.name)

    def _update_breaker(self, answers: Mapping[str, Outcome]) -> None:
        """Keep what was found, drop what is gone, and count failures for the circuit breaker."""
        for name, answer in answers.items():
            if isinstance(answer, Found):
                self._kept[name] = _Kept(answer, self._clock())
            elif not isinstance(answer, ProviderUnavailableError):
                self._kept.pop(name, None)
        if any(not isinstance(answer, ProviderUnavailableError) for answer in answers.values()):
            self._failures, self._open_until = 0, 0.0
            return
        self._failures += 1
        if self._failures >= BREAK_AFTER:
            self._open_until = self._clock() + BREAK_SECONDS

    def _or_stale(self, name: str, answer: Outcome) -> Outcome:
        """Return the last value where the provider is unavailable and the value is younger than ``max_stale``."""
        kept = self._kept.get(name)
        unavailable = isinstance(answer, ProviderUnavailableError)
        if unavailable and kept is not None and self._clock() - kept.at < self._settings.max_stale:
            return kept.found._replace(stale=True)
        return answer


def ends_search(outcome: Outcome) -> bool:
    """Whether an outcome is an error that ends the search, as every one does other than ProviderUnavailableError.

    An older value elsewhere must not take the place of the one that was refused or could not be read.
    """
    return isinstance(outcome, SealflowError) and not isinstance(outcome, ProviderUnavailableError)
