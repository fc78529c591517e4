"""Whether a request may leave: the one decision, made for each hop on what that hop really asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from sealflow.errors import HostNotAllowedError
from sealflow.model.hosts import address_of, forbidden_class, is_loopback, normalised
from sealflow.resolver.carried import SecretUse

if TYPE_CHECKING:
    from yarl import URL

_HOST_HEADER = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?")


class Protection(Enum):
    """What protects a request on its way to a machine."""

    TLS = auto()
    UNVERIFIED_TLS = auto()
    LOOPBACK = auto()
    NONE = auto()


class Reader(NamedTuple):
    """A machine that can read what it is sent: its normalised host, its port, and the protection on the way there."""

    host: str
    port: int
    protection: Protection

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Hop:
    """What one hop asks for.

    ``url``: without userinfo; its ASCII host is the one that is connected to. ``proxy``: the proxy's url, with its
    credentials. ``host_header``: the Host header if the config sets one. ``url_from_input``: input data chose the
    url. ``url_from_server``: a redirect chose the host.
    """

    url: URL = field(repr=False)
    proxy: URL | None = field(default=None, repr=False)
    verify_tls: bool = True
    insecure_http: bool = False
    host_header: str | None = field(default=None, repr=False)
    url_from_input: bool = False
    url_from_server: bool = False

    @cached_property
    def readers(self) -> tuple[Reader, ...]:
        """The machines that can read the request: the url's host, and a proxy that is sent plain http."""
        target = self._reader(self.url, direct=self.proxy is None)
        if self.proxy is None or self.url.scheme == "https":
            return (target,)
        return (target, self._reader(self.proxy, direct=True))

    def proxy_readers(self) -> tuple[Reader, ...]:
        """Return the machines that can read the proxy's credentials."""
        return () if self.proxy is None else (self._reader(self.proxy, direct=True),)

    @cached_property
    def key(self) -> str:
        """One string for all that can read the request and how it is protected. Equal keys mean equal exposure."""
        return " ".join([f"{reader.host} {reader.port} {reader.protection.name}" for reader in self.readers])

    def _reader(self, url: URL, *, direct: bool) -> Reader:
        host, port = host_of(url), url.port or 0
        if url.scheme == "https":
            protection = Protection.TLS if self.verify_tls else Protection.UNVERIFIED_TLS
        else:
            protection = Protection.LOOPBACK if direct and is_loopback(host) else Protection.NONE
        return Reader(host, port, protection)


def host_of(url: URL) -> str:
    """Return the normalised form of the ASCII host that is connected to. Raises HostNotAllowedError if there is none.

    An ``xn--`` label is compared as it is: it is the IDNA form of some name, whatever it decodes to.
    """
    try:
        return normalised(url.raw_host or "")
    except ValueError:
        raise HostNotAllowedError(
            "the request's host is not a host name or an IP address in its usual form", hint="Correct the url"
        ) from None


def check_hop(
    hop: Hop,
    uses: Iterable[SecretUse],
    carried: Iterable[SecretUse] = (),
    proxy_uses: Iterable[SecretUse] = (),
) -> frozenset[str] | None:
    """Return the guard for the connection (see ``check_address``). Raises HostNotAllowedError if the request may not leave.

    ``uses``: the secrets that the config puts into the request, whatever their length. Who wrote the config and the
    url in it wants them there, unless the owner says otherwise. ``carried``: secrets whose values came with data, and
    that this destination has not had yet; only their ``allowed_hosts`` can let them go there. ``proxy_uses``: the
    secrets in the proxy's credentials, which go to the proxy alone.
    """
    uses, carried, proxy_uses = tuple(uses), tuple(carried), tuple(proxy_uses)
    if uses or carried:
        for reader in hop.readers:
            for use in uses:
                _check_use(use, reader, hop)
            for use in carried:
                _check_carried(use, reader, hop)
        _check_host_header(hop, (uses + carried)[0])
    for reader in hop.proxy_readers() if proxy_uses else ():
        for use in proxy_uses:
            _check_use(use, reader, hop)
    from_data = hop.url_from_input or hop.url_from_server
    if from_data and not uses and not carried:
        _check_literal(hop)
    restricted = [use.policy for use in uses + carried + proxy_uses if use.policy.allowed_hosts is not None]
    if not restricted:
        return frozenset() if from_data else None
    return frozenset.intersection(*(policy.named_addresses(hop.url.port or 0) for policy in restricted))


def check_names(names_carry: Iterable[SecretUse]) -> None:
    """Refuse the request if input data put a secret's value into the name of a header, a query parameter or a form field."""
    for use in names_carry:
        raise HostNotAllowedError(
            f"input data put a value of the secret {use.name!r} into the name of a header, query parameter or form field",
            hint="Put the value where a value belongs; data never chooses a name that holds a secret",
            secret=use.name,
        )


def check_address(host: str, address: str, guard: frozenset[str] | None) -> None:
    """Raise HostNotAllowedError if the name ``host`` may not mean ``address``.

    ``guard``: None for a request whose url the config chose and that holds no secret with allowed hosts. Otherwise
    loopback, link-local, metadata and similar addresses are refused for a name, except those in ``guard``: the
    addresses that the secrets' ``allowed_hosts`` name themselves. A loopback name always means this machine.
    """
    name, kind = host.lower().rstrip("."), forbidden_class(address)
    local = kind == "a loopback address"
    if is_loopback(name):
        if not local:
            raise HostNotAllowedError(
                f"{name} resolves to an address that is not this machine",
                hint="Correct /etc/hosts or the name server, or use 127.0.0.1",
            )
        return
    if guard is not None and kind is not None and address not in guard:
        raise HostNotAllowedError(
            f"{name} resolves to {address}, {kind}",
            hint="If that is right, write the address into the config, and into the secret's allowed_hosts",
        )


def _check_use(use: SecretUse, reader: Reader, hop: Hop) -> None:
    _check_allowed(use, reader)
    _check_protection(use, reader, hop)
    if use.policy.allowed_hosts is None and hop.url_from_input:
        raise HostNotAllowedError(
            f"the url comes from input data, and the secret {use.name!r} has no allowed_hosts",
            hint="Set allowed_hosts on the secret, or write the url into the config",
            secret=use.name,
        )


def _check_carried(use: SecretUse, reader: Reader, hop: Hop) -> None:
    if use.policy.allowed_hosts is None:
        raise HostNotAllowedError(
            f"the request carries a value of the secret {use.name!r}, which came with input data, to {reader.host}",
            hint="Refer to the secret in this node's config if it belongs there, or set its allowed_hosts",
            secret=use.name,
        )
    _check_allowed(use, reader)
    _check_protection(use, reader, hop)


def _check_allowed(use: SecretUse, reader: Reader) -> None:
    if not use.policy.allows_host(reader.host, reader.port):
        raise HostNotAllowedError(
            f"the secret {use.name!r} may not be sent to {reader}",
            hint="Its allowed_hosts say where it may go; add the host there if the owner agrees",
            secret=use.name,
        )


def _check_protection(use: SecretUse, reader: Reader, hop: Hop) -> None:
    """A secret with allowed hosts goes by its owner's word, any other by the node's ``insecure_http`` and ``verify_tls``."""
    restricted = use.policy.allowed_hosts is not None
    if reader.protection is Protection.UNVERIFIED_TLS and restricted:
        raise HostNotAllowedError(
            f"the secret {use.name!r} has allowed_hosts and would go to {reader} over TLS that is not verified",
            hint="Remove verify_tls: false; name your own CA with ca_file",
            secret=use.name,
        )
    if reader.protection is not Protection.NONE:
        return
    if restricted and not use.policy.allows_host(reader.host, reader.port, plain_http=True):
        raise HostNotAllowedError(
            f"the secret {use.name!r} would go to {reader} without TLS",
            hint=f"Use https, or add http://{reader} to its allowed_hosts if the owner agrees",
            secret=use.name,
        )
    if not restricted and not hop.insecure_http:
        raise HostNotAllowedError(
            f"the secret {use.name!r} would go to {reader} without TLS",
            hint="Use https; for a network that you trust, set insecure_http: true",
            secret=use.name,
        )


def _check_host_header(hop: Hop, use: SecretUse) -> None:
    """Servers behind one address tell their hosts apart by this header, so it must name the host that was checked."""
    if hop.host_header is None:
        return
    match, named = _HOST_HEADER.fullmatch(hop.host_header.strip()), None
    if match:
        try:
            named = (normalised(match[1]), int(match[2] or (443 if hop.url.scheme == "https" else 80)))
        except ValueError:
            named = None
    if named != (host_of(hop.url), hop.url.port):
        raise HostNotAllowedError(
            "the Host header names another host than the url, and the request holds a secret",
            hint="Remove the Host header, or write that host into the url",
            secret=use.name,
        )


def _check_literal(hop: Hop) -> None:
    """Data may choose an address of this machine as it may choose localhost, and no metadata or link-local address."""
    try:
        host = normalised(hop.url.raw_host or "")
    except ValueError:
        return  # resolved, and then checked by its addresses
    kind = forbidden_class(host) if address_of(host) is not None else None
    if kind is not None and not is_loopback(host):
        raise HostNotAllowedError(
            f"the url comes from data and leads to {host}, {kind}",
            hint="If that is right, write the url into the config",
        )
