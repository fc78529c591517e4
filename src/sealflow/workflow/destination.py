"""Where a request with secrets may go: checked on the host that is really connected to, before each hop."""

from __future__ import annotations

from collections.abc import Iterable

from sealflow.errors import HostNotAllowedError
from sealflow.model.hosts import is_loopback, normalised
from sealflow.resolver.resolver import SecretUse


def check_destination(
    uses: Iterable[SecretUse],
    scheme: str,
    host: str,
    port: int,
    *,
    url_from_input: bool,
    insecure_http: bool,
    proxied: bool,
) -> None:
    """Raise HostNotAllowedError when one of the secrets in a request may not go to this host.

    ``url_from_input``: other data chose the address, so a secret whose owner named no hosts is not sent there.
    ``proxied``: a proxy reads plain http on its way, so loopback is no exception then.
    """
    uses = tuple(uses)
    if not uses:
        return
    try:
        spelled = normalised(host)
    except ValueError:
        raise HostNotAllowedError(
            "the request's host is no host name or address in its usual form",
            hint="Correct the url",
            secret=uses[0].name,
        ) from None
    if scheme != "https" and not (is_loopback(spelled) and not proxied) and not insecure_http:
        raise HostNotAllowedError(
            f"the secret {uses[0].name!r} would go to {spelled} without TLS",
            hint="Use https; for a network that you trust set insecure_http: true",
            secret=uses[0].name,
        )
    for use in uses:
        if not use.policy.allows_host(spelled, port):
            raise HostNotAllowedError(
                f"the secret {use.name!r} may not be sent to {spelled}:{port}",
                hint="Its allowed_hosts say where it may go; add the host there if the owner agrees",
                secret=use.name,
            )
        if url_from_input and use.policy.allowed_hosts is None:
            raise HostNotAllowedError(
                f"the url comes from input data, and the secret {use.name!r} names no allowed hosts",
                hint="Set allowed_hosts on the secret, or write the url into the config",
                secret=use.name,
            )
