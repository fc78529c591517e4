"""Where a request with secrets may go: checked on the host that is really connected to, before each hop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sealflow.errors import HostNotAllowedError
from sealflow.model.hosts import is_loopback, normalised
from sealflow.resolver.carried import SecretUse

if TYPE_CHECKING:
    from yarl import URL


def check_destination(
    uses: Iterable[SecretUse],
    carried: Iterable[SecretUse],
    url: URL,
    *,
    url_from_input: bool,
    insecure_http: bool,
    proxied: bool,
) -> None:
    """Raise HostNotAllowedError when one of the secrets in a request may not go to this host.

    ``uses``: the secrets that the node's config refers to; who wrote the config and the address in it wants them there,
    unless their owner says otherwise. ``carried``: secrets whose values came with data, and that this host has
    not had yet; only their ``allowed_hosts`` can say that they may go there. ``url_from_input``: data chose the address, so the same holds for ``uses``.
    ``proxied``: a proxy reads plain http on its way, so loopback is no exception then.
    """
    uses, carried = tuple(uses), tuple(carried)
    if not uses and not carried:
        return
    try:
        host, port = normalised(url.host or ""), url.port or 0
    except ValueError:
        raise HostNotAllowedError(
            "the request's host is no host name or address in its usual form",
            hint="Correct the url",
            secret=(uses + carried)[0].name,
        ) from None
    for use in uses + carried:
        secret = f"the secret {use.name!r}"
        problem = None
        if url.scheme != "https" and not (is_loopback(host) and not proxied) and not insecure_http:
            problem = f"{secret} would go to {host} without TLS"
            hint = "Use https; for a network that you trust set insecure_http: true"
        elif not use.policy.allows_host(host, port):
            problem = f"{secret} may not be sent to {host}:{port}"
            hint = "Its allowed_hosts say where it may go; add the host there if the owner agrees"
        elif use.policy.allowed_hosts is None and use in carried:
            problem = f"the request carries a value of {secret}, which came with input data, to {host}"
            hint = "Refer to the secret in this node's config if it belongs there, or set its allowed_hosts"
        elif use.policy.allowed_hosts is None and url_from_input:
            problem = f"the url comes from input data, and {secret} names no allowed hosts"
            hint = "Set allowed_hosts on the secret, or write the url into the config"
        if problem is not None:
            raise HostNotAllowedError(problem, hint=hint, secret=use.name)
