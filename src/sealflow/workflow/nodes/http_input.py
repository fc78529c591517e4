"""What input data gives an HTTP request: parts of it, or only the word to start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sealflow.errors import WorkflowError
from sealflow.workflow.nodes.http_body import kind_of

if TYPE_CHECKING:
    from sealflow.workflow.node import NodeContext
    from sealflow.workflow.nodes.http_request import HttpRequestConfig

_PARTS = ("url", "headers", "query", "body")


def input_parts(context: NodeContext, *, is_condition: bool = False) -> dict[str, Any]:
    """Return the parts of the request that input data gives: from ``input``, then from the port of each part.

    The answer or the error of another node on ``input`` says when to run, not what to send. Raises WorkflowError for
    data there that is not a mapping and that neither the config nor a condition (``is_condition``) uses.
    """
    data = context.input
    is_used = is_condition or any(item.data.source == "input" for item in context.data)
    parts: dict[str, Any] = {}
    if isinstance(data, Mapping) and not _is_signal(data):
        parts = {key: data[key] for key in _PARTS if key in data}
    elif not is_used and not all(map(_is_signal, data if isinstance(data, list) and data else [data])):
        raise WorkflowError(
            f"the data on the port input is {kind_of(data)}, and a request takes a mapping with {', '.join(_PARTS)}",
            hint="Link it to one of the ports of these names, or write {{input}} into the config",
            path="input",
        )
    parts.update({port: data for port, data in context.inputs.items() if port != "input"})
    kinds: dict[str, tuple[type | tuple[type, ...], str]] = {
        "url": (str, "a string"),
        "headers": (Mapping, "a mapping"),
        "query": (Mapping, "a mapping"),
    }
    for key, (kind, what) in kinds.items():
        if key in parts and not isinstance(parts[key], kind):
            raise WorkflowError(
                f"the {key} that came from input data is not {what}",
                hint="Look at what is linked to it",
                path=key,
            )
    return parts


def check_error_is_used(
    context: NodeContext, config: HttpRequestConfig, parts: Mapping[str, Any], *, is_condition: bool = False
) -> None:
    """Refuse to send an empty body when an error arrived on ``input`` and nothing of it would be sent."""
    has_body = config.body is not None or config.body_file is not None or config.files
    is_used = is_condition or has_body or parts or context.data
    if config.method in ("POST", "PUT", "PATCH") and not is_used and _is_error(context.input):
        raise WorkflowError(
            f"an error arrived on the port input, and nothing of it would be sent: the {config.method} has no body",
            hint="Link the error to the port body, or write body: {text: '{{input.message}}'}",
            path="body",
        )


def _is_signal(data: Any) -> bool:
    """Whether this is the answer of an http-request, or what a node gave on its port ``error``."""
    return data is None or _is_error(data) or (isinstance(data, Mapping) and "status_code" in data)


def _is_error(data: Any) -> bool:
    """Whether this is what a node gave on its port ``error``, or a list of that."""
    if isinstance(data, list):
        return bool(data) and all(map(_is_error, data))
    return isinstance(data, Mapping) and {"type", "message"} <= data.keys() and not data.keys() & set(_PARTS)


def url_is_data(context: NodeContext, parts: Mapping[str, Any]) -> bool:
    """Whether data chose the url: it came by a port, or the config's url is a piece of data as a whole."""
    return "url" in parts or any(item.whole and item.path == "url" for item in context.data)
