"""Workflow documents of format 1: from data to nodes, and from nodes to text."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from sealflow.errors import SealflowError, TrustError, WorkflowError
from sealflow.model.validation import validate
from sealflow.resolver.local import LOCAL
from sealflow.workflow.functions import import_module
from sealflow.workflow.node import BaseNode, RetryPolicy
from sealflow.workflow.node_types import needs_trust, node_class
from sealflow.workflow.reader import new_yaml

FORMAT = 1
MAX_LINKS = 2_000


class NodeDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    type: str
    config: dict[str, Any] = Field(default_factory=dict)
    retry: RetryPolicy | None = None
    timeout: float | None = None
    when: str | None = None
    for_each: str | dict[str, Any] | None = None
    learn: list[str] = Field(default_factory=list)

    @property
    def flow(self) -> dict[str, Any]:
        """What is written of when, for_each and learn."""
        given = {"when": self.when, "for_each": self.for_each, "learn": tuple(self.learn)}
        return {key: value for key, value in given.items() if value}


class WorkflowDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    sealflow: int
    name: str
    description: str | None = None
    modules: list[str] = Field(default_factory=list)
    nodes: dict[str, NodeDocument]
    links: list[str] = Field(default_factory=list)


class Problem(NamedTuple):
    """What is wrong with a document, at its path (``nodes.user.config.auth``)."""

    path: str
    error: SealflowError


def parse_document(data: Any) -> WorkflowDocument:
    """Check a document's shape; raise WorkflowError with the path of the first problem."""
    if not isinstance(data, Mapping):
        raise WorkflowError("a workflow must be a mapping", hint="Begin with: sealflow: 1")
    version = data.get("sealflow")
    if version is None:
        raise WorkflowError("the workflow does not name its format", hint="Add: sealflow: 1", path="sealflow")
    if type(version) is not int or version != FORMAT:
        raise WorkflowError(
            f"the workflow's format is not {FORMAT}, the only one that this sealflow knows",
            hint="Update sealflow, or correct it",
            path="sealflow",
        )
    links = data.get("links")
    if isinstance(links, list) and len(links) > MAX_LINKS:
        raise WorkflowError(
            f"the workflow has more than {MAX_LINKS} links", hint="Split it", path=f"links[{MAX_LINKS}]"
        )
    document, problems = validate(WorkflowDocument, data)
    if document is not None:
        return document
    problem = problems[0]
    raise WorkflowError(
        f"the workflow does not fit its format: {problem.message}",
        hint=problem.hint or "Correct the file",
        path=problem.path,
    )


def build_nodes(
    document: WorkflowDocument, *, trusted: bool = True, folder: Path | None = None
) -> tuple[dict[str, BaseNode], list[Problem]]:
    """Make every node that can be made, and say what is wrong with the others.

    ``trusted``: whether the document may have what needs trust; TrustError in the problems where it may not.
    ``folder``: where the file is, for the functions that it calls.
    """
    nodes: dict[str, BaseNode] = {}
    problems = list(_import_modules(document, trusted, folder))
    if problems:
        return nodes, problems
    for name, item in document.nodes.items():
        above = f"nodes.{name}"
        try:
            if not trusted and needs_trust(item.type):
                raise TrustError(f"the node type {item.type!r} needs a folder that you trust")
            node = node_class(item.type)(
                name,
                item.config,
                retry=item.retry,
                timeout=item.timeout,
                **({"flow": item.flow} if item.flow else {}),
            )
            node.folder = folder
            nodes[name] = node
            if not trusted:
                problems += [Problem(f"{above}.{path}", error) for path, error in _what_needs_trust(node)]
        except SealflowError as error:
            at_type = isinstance(error, WorkflowError | TrustError) and not error.path
            place = "type" if at_type else "config" + (f".{error.path}" if error.path else "")
            problems.append(Problem(f"{above}.{place}", error))
    return nodes, problems


def _import_modules(document: WorkflowDocument, trusted: bool, folder: Path | None) -> Iterator[Problem]:
    """Import the modules beside the file that register node types; say what is wrong with those that cannot be."""
    for index, name in enumerate(document.modules):
        try:
            if not trusted:
                raise TrustError(f"the module {name[:80]!r} needs a folder that you trust")
            import_module(name, folder)
        except SealflowError as error:
            yield Problem(f"modules[{index}]", error)


def _what_needs_trust(node: BaseNode) -> Iterator[tuple[str, TrustError]]:
    """Yield the fields and references of a config that a folder without trust may not have."""
    for field in node.trusted_fields:
        if field in node.config:
            yield f"config.{field}", TrustError(f"the field {field!r} needs a folder that you trust")
    for item in node.data:
        if item.data.source == "env":
            yield f"config.{item.path}", TrustError(f"{item.data} needs a folder that you trust")
    for found in node.references:
        if found.reference.provider not in (None, LOCAL):
            yield (
                f"config.{found.path}",
                TrustError(
                    f"the provider {found.reference.provider!r} needs a folder that you trust",
                    secret=found.reference.name,
                ),
            )


def to_document(
    name: str,
    description: str | None,
    modules: Iterable[str],
    nodes: Mapping[str, BaseNode],
    links: Iterable[object],
) -> dict[str, Any]:
    """Return the document of a workflow, configs as they were written."""
    items = {}
    for node_name, node in nodes.items():
        item: dict[str, Any] = {"type": node.type_name, "config": node.config}
        if node.retry != RetryPolicy():
            item["retry"] = node.retry.model_dump(exclude_defaults=True)
        if node.timeout is not None:
            item["timeout"] = node.timeout
        item.update(node.flow.model_dump(exclude_defaults=True, mode="json"))
        items[node_name] = item
    described: dict[str, Any] = {} if description is None else {"description": description}
    if list(modules):
        described["modules"] = list(modules)
    return {
        "sealflow": FORMAT,
        "name": name,
        **described,
        "nodes": items,
        "links": [str(link) for link in links],
    }


def to_text(document: Mapping[str, Any], *, as_json: bool) -> str:
    """Return a document as JSON or YAML text."""
    if as_json:
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    stream = io.StringIO()
    new_yaml().dump(document, stream)
    return stream.getvalue()


def write_text(path: Path, text: str) -> None:
    """Write a workflow file; it appears whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise WorkflowError(
            f"{path} cannot be written ({error.strerror})", hint="Choose another path"
        ) from None
