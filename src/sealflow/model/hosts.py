"""Hosts a secret may be sent to: one spelling for each host, and patterns over it.

A pattern is a host (``api.example.com``, ``127.0.0.1``, ``[::1]``), or ``*.example.com`` for every name with
at least one more label in front; each with ``:port`` where only that port is meant.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
HOST_RULE = "Give a host such as api.example.com, *.example.com, 10.0.0.7, [::1] or api.example.com:8443"


def normalised(host: str) -> str:
    """Return the one spelling of ``host``: lower case, IDNA, no trailing dot, an address in its usual form.

    Raises ValueError for what is no host name and no address. Numbers that some resolvers take for an
    address (``2130706433``, ``0x7f.1``) are refused: what they connect to is anybody's guess.
    """
    host = host.strip().removesuffix(".")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if ":" in host:
        return _address(host)
    labels = host.split(".")
    if re.fullmatch(r"[0-9]+|0[xX][0-9a-fA-F]*", labels[-1]):
        return _address(host)
    if not host.isascii():
        import idna

        try:
            host = idna.encode(host, uts46=True).decode()
        except idna.IDNAError:
            raise ValueError("it is no international domain name") from None
    host = host.lower()
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise ValueError("it is no host name")
    return host


def _address(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError("it is no IP address in its usual form") from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def is_loopback(host: str) -> bool:
    """Whether a normalised host is this machine by definition: 127.0.0.0/8, ::1, localhost (RFC 6761)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@dataclass(frozen=True, slots=True)
class HostPattern:
    """``host`` is normalised; ``wildcard`` means names below it; ``port`` None means any."""

    host: str
    wildcard: bool
    port: int | None

    @classmethod
    def parse(cls, text: str) -> HostPattern:
        """Raise ValueError, saying why, for what is no pattern."""
        if any(char in text for char in "/@?#\\% ") or not text:
            raise ValueError("it is no bare host")
        host, port = text, None
        match = re.fullmatch(r"(\[[^\]]*\]|[^:]*):([0-9]{1,5})", text)
        if match:
            host, port = match[1], int(match[2])
            if not 0 < port < 65536:
                raise ValueError("its port is not between 1 and 65535")
        wildcard = host.startswith("*.")
        bare = host[2:] if wildcard else host
        if "*" in bare:
            raise ValueError("a * stands only as the whole first label")
        spelled = normalised(bare)
        if wildcard and ("." not in spelled or re.search(r"[0-9:]$", spelled)):
            raise ValueError("a * needs at least two labels behind it")
        return cls(spelled, wildcard, port)

    def matches(self, host: str, port: int) -> bool:
        """Whether this pattern allows the normalised ``host`` and ``port``."""
        if self.port not in (None, port):
            return False
        return host.endswith("." + self.host) if self.wildcard else host == self.host
