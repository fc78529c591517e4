"""Values of secrets in data on its way to a host (docs/decisions/0008-carried-values.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from sealflow.model.maskable import CARRIED_MIN_LENGTH
from sealflow.model.policy import Policy
from sealflow.providers.base import Found
from sealflow.resolver.chain import Key
from sealflow.resolver.encodings import texts
from sealflow.resolver.redactor import Redactor


class SecretUse(NamedTuple):
    """A secret that a config refers to, and what its owner allows."""

    name: str
    source: str
    policy: Policy


class CarriedValues:
    """Finds the secrets of one execution whose values data would carry to a host that has not had them.

    What flows from node to node is not masked, so data may hold a value that some server echoed. Public fields and
    values under CARRIED_MIN_LENGTH characters are not searched for: they occur in data by chance.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._redactors: dict[Key, tuple[Redactor, Redactor]] = {}
        self._sent: set[tuple[str, str, str]] = set()

    def note_sent(self, uses: Iterable[SecretUse], destination: str) -> None:
        """Record that secrets were sent to a destination: with data, they may go there again."""
        self._sent.update((use.name, use.source, destination) for use in uses)

    def find(
        self,
        known: Mapping[Key, Found],
        uses: Iterable[SecretUse],
        request_text: Callable[[], str],
        destination: str,
    ) -> tuple[SecretUse, ...]:
        """Return the secrets in ``known``, other than ``uses`` and those sent to this destination before, that the request carries.

        ``destination``: host and port, all else that can read the request, and the protection on the way.

        ``request_text`` is only called when there is something to search for.
        """
        own = {(use.name, use.source) for use in uses}
        others = {
            key: item
            for key, item in known.items()
            if (key[1], item.source) not in own and (key[1], item.source, destination) not in self._sent
        }
        if not others:
            return ()
        text = request_text()
        if not self._redactor.holds(text):
            return ()
        for key, item in known.items():
            if key not in others:  # a value that two secrets share may go with either
                text = self._redactors_of(key, item)[0].clean(text)
        return tuple(
            SecretUse(key[1], item.source, item.policy)
            for key, item in others.items()
            if self._redactors_of(key, item)[1].holds(text)
        )

    def clear(self) -> None:
        """Forget the values."""
        self._redactors.clear()

    def _redactors_of(self, key: Key, item: Found) -> tuple[Redactor, Redactor]:
        """Return two redactors of a secret: one knows all its values, one those that do not occur by chance."""
        if key not in self._redactors:
            made = self._redactors[key] = (Redactor(), Redactor())
            made[0].add(item.data)
            made[1].add([text for text in texts(item.confidential) if len(text) >= CARRIED_MIN_LENGTH])
        return self._redactors[key]
