"""The HTTP node's ``paginate``: which request asks for the next page, and what all pages give together."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from sealflow.errors import NodeConfigError, WorkflowError
from sealflow.workflow.expressions import check_expression, search
from sealflow.workflow.node_config import NodeConfig
from sealflow.workflow.nodes.http_client import NetworkError, Request, Response, origin, read_url

if TYPE_CHECKING:
    from sealflow.workflow.nodes.http_compose import Composed

Expression = Annotated[str, AfterValidator(check_expression)]

_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s",;]+))', re.IGNORECASE)


class Paginate(NodeConfig):
    """Ask for all pages.

    ``by``: ``link`` follows the Link header (RFC 8288, rel=next); ``url`` the address that ``next`` finds in the answer;
    ``cursor`` sends what ``next`` finds as the query parameter ``parameter``; ``page`` counts that parameter up from
    ``start`` until a page has no items. ``items``: finds the list of items in an answer; without it, a page's item is
    its body. ``limit``: pages at most.
    """

    by: Literal["link", "url", "cursor", "page"]
    next: Expression | None = None
    parameter: str | None = Field(default=None, min_length=1)
    items: Expression | None = None
    start: int = 1
    limit: int = Field(default=100, ge=1, le=10_000)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        needed = {
            "link": (),
            "url": ("next",),
            "cursor": ("next", "parameter"),
            "page": ("parameter", "items"),
        }
        for field in needed[self.by]:
            if getattr(self, field) is None:
                raise ValueError(f"by: {self.by} needs the field {field}")
        return self


class Pages:
    """The pages of one request: what they have given so far, and which request is next."""

    def __init__(self, rules: Paginate, composed: Composed, max_bytes: int) -> None:
        self._rules = rules
        self._first = composed.request
        self._secret_query = composed.secret_query
        self._max_bytes = max_bytes
        self._items: list[Any] = []
        self._seen: set[URL] = set()
        self._size = 0
        self._count = 0
        self._more = False
        if rules.parameter is not None and any(name == rules.parameter for name, _ in self._secret_query):
            raise NodeConfigError(
                "paginate counts in a query parameter that holds a secret",
                hint="Use another parameter",
                path="paginate.parameter",
            )

    def first_request(self) -> Request:
        """Return the request for the first page."""
        if self._rules.by == "page":
            return self._request(self._with_parameter(str(self._rules.start)))
        return self._request(self._first.url)

    def result(self) -> dict[str, Any]:
        """Return what the output has beside the last page's status and headers."""
        return {"body": self._items, "pages": self._count, "more": self._more}

    def next_request(self, response: Response) -> Request | None:
        """Take a page, and return the request for the one behind it; None for the last.

        Raises NetworkError for a next page that is not to be asked for, WorkflowError for expressions that do not fit.
        """
        answer = {"status_code": response.status, "headers": response.headers, "body": response.body}
        self._size += response.size
        if self._size > self._max_bytes:
            raise NetworkError(
                "ResponseTooLarge", f"the pages have more than {self._max_bytes} bytes (max_response_bytes)"
            )
        found = self._found_items(answer)
        self._items += found
        self._count += 1
        url = self._next_url(answer, response, found)
        if url is None:
            return None
        if self._count >= self._rules.limit:
            if "limit" not in self._rules.model_fields_set:
                raise NetworkError(
                    "TooManyPages", f"there are more than {self._count} pages; set limit in paginate"
                )
            self._more = True
            return None
        return self._request(url)

    def _found_items(self, answer: dict[str, Any]) -> list[Any]:
        if self._rules.items is None:
            return [answer["body"]]
        found = search(self._rules.items, answer, what="paginate.items", path="paginate.items")
        if not isinstance(found, list):
            raise WorkflowError(
                f"paginate.items does not find a list in page {self._count + 1}",
                hint="Begin with the answer's part: body.items, or body where the body is the list",
                path="paginate.items",
            )
        return found

    def _next_url(self, answer: dict[str, Any], response: Response, found: list[Any]) -> URL | None:
        rules = self._rules
        if rules.by == "page":
            return self._with_parameter(str(rules.start + self._count)) if found else None
        if rules.by == "link":
            following: Any = next_link(response.headers)
        else:
            assert rules.next is not None
            following = search(rules.next, answer, what="paginate.next", path="paginate.next")
        if following is None or following is False or following == "":
            return None
        if isinstance(following, bool | float) or not isinstance(following, str | int):
            raise WorkflowError(
                "paginate.next finds something that is not a string or a number",
                hint="Begin with the answer's part: body.next",
                path="paginate.next",
            )
        return (
            self._with_parameter(str(following))
            if rules.by == "cursor"
            else self._checked_url(str(following), response.url)
        )

    def _with_parameter(self, value: str) -> URL:
        assert self._rules.parameter is not None
        return self._first.url.update_query({self._rules.parameter: value})

    def _checked_url(self, text: str, base: URL) -> URL:
        """Return the url that the server gave. It stays at the first request's origin, which has the credentials."""
        try:
            url = read_url(text, base)
        except ValueError:
            url = None
        if url is None or url.user is not None or url.password is not None:
            raise NetworkError("InvalidNextPage", "the next page's address is not a usable one")
        if origin(url) != origin(self._first.url):
            raise NetworkError("InvalidNextPage", "the next page is at another origin than the first")
        url = url.with_fragment(None)
        names = {name for name, _ in self._secret_query}
        if names:
            kept = [(name, value) for name, value in url.query.items() if name not in names]
            url = url.with_query([*kept, *self._secret_query])
        return url

    def _request(self, url: URL) -> Request:
        if url in self._seen:
            raise NetworkError("RepeatedPage", "the server's next page is one that was read before")
        self._seen.add(url)
        if self._rules.by in ("link", "url") and url != self._first.url:
            names = (*self._first.data_names, *url.query)  # the server chose them
            return replace(self._first, url=url, data_names=names)
        return replace(self._first, url=url)


def next_link(headers: dict[str, str]) -> str | None:
    """Return the target of the Link header with rel=next (RFC 8288), or None."""
    value = next((value for name, value in headers.items() if name.lower() == "link"), "")
    for link in re.split(r",(?=\s*<)", value):
        target, found, parameters = link.strip().removeprefix("<").partition(">")
        rel = _REL.search(parameters) if found else None
        if rel is not None and "next" in (rel[1] or rel[2] or "").lower().split():
            return target
    return None
