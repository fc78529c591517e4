"""What sealflow shows of a request's url: made from masked parts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, unquote_plus

from yarl import URL

from sealflow.model.places import substituted
from sealflow.wording import without_keys
from sealflow.workflow.nodes.http_client import read_url

if TYPE_CHECKING:
    from sealflow.workflow.node import NodeContext

MASK = "***"


def shown_url(url: URL | str, masked: Callable[[str], str]) -> str:
    """Return a url for messages and saved runs, without keys: each part is decoded, masked, and encoded again.

    The encoded whole would not do: the percent signs of an encoding can hide a value.
    """
    return without_keys(_masked_url(url, masked))


def _masked_url(url: URL | str, masked: Callable[[str], str]) -> str:
    if isinstance(url, str):
        return masked(url)
    whole = str(url)
    if "%" not in whole and "+" not in whole:
        return masked(whole)
    path = _masked_part(url.raw_path, masked, unquote, safe="/*:@!$&'()+,;=~")
    pairs = [
        "=".join(_masked_part(part, masked, unquote_plus, safe="*") for part in pair.split("=", 1))
        for pair in url.raw_query_string.split("&")
    ]
    query = "&".join(pairs)
    return masked(f"{url.origin()}{path}" + (f"?{query}" if query else ""))


def _masked_part(
    encoded: str, masked: Callable[[str], str], decode: Callable[[str], str], *, safe: str
) -> str:
    plain = decode(encoded)
    cleaned = masked(plain)
    return masked(encoded) if cleaned == plain else quote(cleaned, safe=safe)


def bare_url(url: URL) -> URL:
    """Return ``url`` without userinfo and fragment, which are never sent as part of it."""
    if url.raw_user is not None or url.raw_password is not None:
        url = url.with_user(None)
    return url.with_fragment(None) if url.raw_fragment else url


def masked_url(context: NodeContext, url: URL, written: str | None) -> URL | str:
    """Return the url to show: as written, with ``***`` for each reference in it; ``url`` itself if ``written`` is None.

    A host that a reference gave is learned label by label, because it is asked for in lower case and IDNA.
    """
    if written is None:
        return url
    text = substituted(written, lambda _reference, _place: MASK)
    try:
        masked = read_url(text)
        labels = set((masked.raw_host or "").split("."))
        masked = bare_url(masked)
    except ValueError:
        masked, labels = text.partition("#")[0].rpartition("@")[2], set(re.split(r"[/.:?#]", text))
    for label in set((url.raw_host or "").split(".")) - labels if MASK in str(labels) else ():
        context.learn(label)
    return masked
