"""Hosts that a secret may be sent to: one spelling for each host, patterns over it, and addresses that no name may mean.

A pattern is a host (``api.example.com``, ``127.0.0.1``, ``[::1]``), or ``*.example.com`` for every name with at least
one more label in front. ``:port`` restricts it to that port. ``http://`` in front also allows requests without TLS.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_PLAIN_HTTP = "http://"
HOST_RULE = (
    "Give a host such as api.example.com, *.example.com, 10.0.0.7, [::1] or api.example.com:8443, "
    "with http:// in front if it may have the secret without TLS"
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = {ipaddress.ip_address(text) for text in ("169.254.169.254", "100.100.100.200", "fd00:ec2::254")}
"""Where cloud machines read their own credentials: AWS, Google, Azure; Alibaba; AWS by IPv6."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")  # RFC 4291, 2.5.5.1


@lru_cache(maxsize=1024)
def normalised(host: str) -> str:
    """Return the one spelling of ``host``: lower case, IDNA, no trailing dot, an address in its usual form.

    Raises ValueError for anything else. Numbers that some resolvers take for an address (``2130706433``, ``0x7f.1``)
    are refused, because resolvers do not agree on what they mean, and so are addresses with a zone.
    """
    host = host.strip().removesuffix(".")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if ":" in host:
        return _normalised_address(host)
    if _NUMBER.fullmatch(host.rsplit(".", 1)[-1]):
        return _normalised_address(host)
    if not host.isascii():
        import idna

        try:
            host = idna.encode(host, uts46=True).decode()
        except idna.IDNAError:
            raise ValueError("it is not a valid international domain name") from None
    host = host.lower()
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise ValueError("it is not a valid host name")
    if _NUMBER.fullmatch(host.rsplit(".", 1)[-1]):  # full-width digits, now that they are ASCII
        return _normalised_address(host)
    return host


def _normalised_address(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError("it is not an IP address in its usual form") from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise ValueError("it is an IP address with a zone")
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
    return str(address)


@lru_cache(maxsize=1024)
def address_of(host: str) -> Address | None:
    """Return the address that a normalised host is, or None for a name."""
    if host[-1:].isdigit() or ":" in host:
        try:
            return ipaddress.ip_address(host)
        except ValueError:
            pass
    return None


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether a normalised host is this machine by definition: 127.0.0.0/8, ::1, localhost (RFC 6761)."""
    address = address_of(host)
    if address is not None:
        return address.is_loopback
    return host == "localhost" or host.endswith(".localhost")


def forbidden_class(address: str) -> str | None:
    """Return what kind of address this is if no public name should resolve to it, or None.

    ``address`` is as a resolver returns it, and may have a zone. Private networks are not in question: names inside a company resolve to them.
    """
    ip = _embedded_ipv4(ipaddress.ip_address(address))
    if ip in _METADATA:
        return "a cloud metadata address"
    kinds = {
        "a loopback address": ip.is_loopback,
        "a link-local address": ip.is_link_local,
        "a multicast address": ip.is_multicast,
        "the unspecified address": ip.is_unspecified or (ip.version == 4 and int(ip) < 1 << 24),
        "a reserved address": ip.is_reserved,
    }
    return next((kind for kind, applies in kinds.items() if applies), None)


def _embedded_ipv4(ip: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to (mapped, NAT64, 6to4, IPv4-compatible), or ``ip``."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip.scope_id is not None:
        ip = ipaddress.IPv6Address(int(ip))
    mapped = ip.ipv4_mapped or ip.sixtofour
    if mapped is not None:
        return mapped
    if ip in _NAT64 or (ip in _IPV4_COMPATIBLE and int(ip) > 1):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


@dataclass(frozen=True, slots=True)
class HostPattern:
    """``host`` is normalised; ``wildcard`` means names below it; ``port`` None means any; ``plain_http``: also without TLS."""

    host: str
    wildcard: bool
    port: int | None
    plain_http: bool = False

    @classmethod
    @lru_cache(maxsize=1024)
    def parse(cls, text: str) -> HostPattern:
        """Parse an entry of ``allowed_hosts``. Raises ValueError, saying why, for anything else."""
        plain_http = text[: len(_PLAIN_HTTP)].lower() == _PLAIN_HTTP
        host, port = text[len(_PLAIN_HTTP) :] if plain_http else text, None
        if any(char in host for char in "/@?#\\%") or not host or not host.isprintable() or " " in host:
            raise ValueError("it is not a bare host")
        match = re.fullmatch(r"(\[[^\]]*\]|[^:]*):([0-9]{1,5})", host)
        if match:
            host, port = match[1], int(match[2])
            if not 0 < port < 65536:
                raise ValueError("its port is not between 1 and 65535")
        wildcard = host.startswith("*.")
        bare = host[2:] if wildcard else host
        if "*" in bare:
            raise ValueError("a * can only be the whole first label")
        spelled = normalised(bare)
        if wildcard and ("." not in spelled or re.search(r"[0-9:]$", spelled)):
            raise ValueError("a * needs at least two labels behind it")
        return cls(spelled, wildcard, port, plain_http)

    def matches(self, host: str, port: int) -> bool:
        """Whether this pattern allows the normalised ``host`` and ``port``."""
        if self.port not in (None, port):
            return False
        return host.endswith("." + self.host) if self.wildcard else host == self.host
