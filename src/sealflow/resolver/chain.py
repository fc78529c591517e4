"""The sources of values in their order: the providers, then the local store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sealflow.errors import ProviderError, SealflowError, SecretNotFoundError
from sealflow.model.names import closest, shown
from sealflow.providers.base import NO_POLICY, ExternalSecretProvider, Found
from sealflow.providers.local import LOCAL, LocalStore

Key = tuple[str | None, str]
"""A provider's name where a reference pins one, and the secret's name."""

Answer = Found | SealflowError


class Chain:
    """Asks the providers in order, then the local store; a pinned reference asks its provider alone."""

    def __init__(self, providers: Sequence[ExternalSecretProvider], local: LocalStore | None) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._local = local

    async def get_many(self, keys: Iterable[Key]) -> dict[Key, Answer]:
        """Return for each key what was found, or the error that says why nothing was."""
        answers: dict[Key, Answer] = {}
        unanswered: list[Key] = []
        for key in keys:
            answer = await self._from_providers(key) if self._providers or key[0] is not None else None
            if answer is None:
                unanswered.append(key)
            else:
                answers[key] = answer
        if unanswered:
            answers.update(self._from_local(unanswered))
        return answers

    async def _from_providers(self, key: Key) -> Answer | None:
        pinned, name = key
        if pinned is not None and pinned != LOCAL and pinned not in self._providers:
            known = (*self._providers, *((LOCAL,) if self._local else ()))
            return SecretNotFoundError(
                f"there is no provider {shown(pinned)}",
                hint=closest(pinned, known, what="providers"),
                secret=name,
            )
        for provider in self._providers.values():
            if pinned in (None, provider.name):
                try:
                    data = await provider.get_secret(name)
                except ProviderError as error:
                    return error
                if data is not None:
                    return Found(data, NO_POLICY, provider.name)
        return None

    def _from_local(self, keys: list[Key]) -> dict[Key, Answer]:
        names = {name for pinned, name in keys if pinned in (None, LOCAL)}
        try:
            found = self._local.get_many(names) if self._local is not None and names else {}
        except SealflowError as error:
            return dict.fromkeys(keys, error)
        return {
            key: found[key[1]] if key[1] in found and key[0] in (None, LOCAL) else self._missing(key)
            for key in keys
        }

    def _missing(self, key: Key) -> SecretNotFoundError:
        pinned, name = key
        if self._local is not None and pinned in (None, LOCAL):
            hint = self._local.hint(name)
        else:
            hint = f"Make it in {pinned or 'one of the providers'}, or correct its name"
        asked = [provider for provider in self._providers if pinned in (None, provider)]
        said = f" (asked: {', '.join(asked)})" if asked else ""
        return SecretNotFoundError(f"there is no secret {shown(name)}{said}", hint=hint, secret=name)

    async def close(self) -> None:
        """Close the providers; the local store is its owner's."""
        for provider in self._providers.values():
            await provider.close()
