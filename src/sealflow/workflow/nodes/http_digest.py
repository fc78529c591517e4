"""Digest auth (RFC 7616) of the HTTP node: aiohttp's middleware, for the origin of the first request alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from sealflow.workflow.nodes.http_auth import DigestAuth, checked_username
from sealflow.workflow.nodes.http_client import NetworkError

if TYPE_CHECKING:
    import aiohttp

_RESPONSE = re.compile(r'response="([0-9a-fA-F]+)"')


def digest_middlewares(
    auth: object, learn: Callable[[str], None]
) -> tuple[aiohttp.ClientMiddlewareType, ...]:
    """Return what answers a server's Digest challenge; nothing for another kind of ``auth``.

    ``learn`` masks each answer to a challenge: who has one can try passwords on it.
    """
    if not isinstance(auth, DigestAuth):
        return ()
    import aiohttp

    async def with_usual_errors(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        try:
            return await handler(request)
        except aiohttp.ClientError as error:
            if type(error) is not aiohttp.ClientError:  # the digest middleware raises the base class itself
                raise
        raise NetworkError("AuthenticationError", "the server's Digest challenge cannot be answered")

    async def with_learned_answer(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        answer = _RESPONSE.search(request.headers.get("Authorization", ""))
        if answer is not None:
            learn(answer[1])
        return await handler(request)

    digest = aiohttp.DigestAuthMiddleware(checked_username(auth.username), auth.password.get_secret_value())
    return (with_usual_errors, digest, with_learned_answer)
