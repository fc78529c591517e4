"""Workflow: nodes and the links between their ports."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple, Self

from sealflow.errors import SealflowError, TrustError, WorkflowError
from sealflow.model.names import NAME_PATTERN
from sealflow.model.places import place_of
from sealflow.trust import trust_hint
from sealflow.wording import KEY_IN_NAME, closest, holds_key, shown
from sealflow.workflow import document, reader
from sealflow.workflow.node import ERROR_PORT, BaseNode
from sealflow.workflow.positions import Positions

_LINK = re.compile(rf"\s*({NAME_PATTERN})\.({NAME_PATTERN})\s*->\s*({NAME_PATTERN})\.({NAME_PATTERN})\s*")


class Link(NamedTuple):
    """Data flows from an output port to an input port."""

    source: str
    output: str
    target: str
    input: str

    @classmethod
    def parse(cls, text: object) -> Link:
        """Read ``node.port -> node.port``."""
        match = _LINK.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise WorkflowError(
                f"{shown(text)} is not a valid link", hint="Write: node.output -> other.input"
            )
        return cls(*match.groups())

    def __str__(self) -> str:
        return f"{self.source}.{self.output} -> {self.target}.{self.input}"


class Workflow:
    """A named graph without cycles. It holds references and never a value, so it may be kept and sent anywhere.

    Several links may lead to one input port: it then gets the list of what arrived.
    """

    def __init__(
        self,
        name: str,
        nodes: Iterable[BaseNode] = (),
        links: Iterable[Link | str] = (),
        *,
        description: str | None = None,
        modules: Iterable[str] = (),
    ) -> None:
        """``modules``: Python modules beside the workflow file that its node types come from; kept for ``dump``."""
        if not isinstance(name, str) or not 0 < len(name) <= 128 or not name.isprintable():
            raise WorkflowError(
                f"{shown(name)} is not a valid workflow name", hint="Give 1 to 128 printable characters"
            )
        if holds_key(name):
            raise WorkflowError("the name of the workflow holds a key or a token", hint=KEY_IN_NAME)
        self.name = name
        self.description = description
        self.modules = tuple(modules)
        self.trusted = True
        """False for a workflow of strangers: see ``from_dict``."""
        self.nodes: dict[str, BaseNode] = {}
        self.links: list[Link] = []
        for node in nodes:
            self.add(node)
        for link in links:
            self.add_link(Link.parse(link) if isinstance(link, str) else link)
        self.order()

    def __repr__(self) -> str:
        return f"Workflow({self.name!r}, nodes={len(self.nodes)}, links={len(self.links)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workflow) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def add(self, node: BaseNode) -> BaseNode:
        """Add a node; its name must be new."""
        if node.name in self.nodes:
            raise WorkflowError(f"the workflow already has a node {node.name!r}", hint="Choose another name")
        self.nodes[node.name] = node
        return node

    def link(self, source: str, target: str) -> Link:
        """Link ``"node.output"`` to ``"node.input"``; refuse unknown nodes and ports, and cycles."""
        link = self.add_link(Link.parse(f"{source} -> {target}"))
        try:
            self.order()
        except WorkflowError:
            self.links.remove(link)
            raise
        return link

    def add_link(self, link: Link) -> Link:
        """Add a link without looking for cycles: call ``order`` after the last one. Refuses unknown nodes and ports."""
        for name in (link.source, link.target):
            self._check_node(name, f"the link {link}")
        outputs, inputs = self.nodes[link.source].ports(), self.nodes[link.target].inputs
        if link.output not in outputs:
            raise WorkflowError(
                f"the link {link}: {link.source!r} has no output port {link.output!r}",
                hint=closest(link.output, outputs, what="output ports"),
            )
        if link.input not in inputs:
            raise WorkflowError(
                f"the link {link}: {link.target!r} has no input port {link.input!r}",
                hint=closest(link.input, inputs, what="input ports"),
            )
        if link in self.links:
            raise WorkflowError(f"the link {link} is written twice", hint="Remove one")
        self.links.append(link)
        return link

    def _check_node(self, name: str, where: str) -> None:
        if name not in self.nodes:
            raise WorkflowError(
                f"{where} names a node {name!r}, and there is none",
                hint=closest(name, self.nodes, what="nodes"),
            )

    def end_nodes(self) -> list[str]:
        """Return the names of the nodes that no link and no config leads on from, other than by their error port."""
        sources = {link.source for link in self.links if link.output != ERROR_PORT}
        sources |= {name for node in self.nodes.values() for name in node.needed_nodes()}
        return [name for name in self.nodes if name not in sources]

    def links_to(self, name: str) -> list[Link]:
        """Return the links into a node, in the order they were made."""
        return [link for link in self.links if link.target == name]

    def order(self) -> list[str]:
        """Return the nodes' names, each behind those it gets data from; WorkflowError names a cycle."""
        sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(self.nodes, ()))
        for link in self.links:
            sorter.add(link.target, link.source)
        for node in self.nodes.values():
            for name in node.needed_nodes():
                self._check_node(name, f"the config of {node.name!r}")
                sorter.add(node.name, name)
        try:
            return list(sorter.static_order())
        except CycleError as error:
            circle = " -> ".join(reversed(error.args[1]))
        raise WorkflowError(f"the links form a cycle: {circle}", hint="Remove one of these links")

    def to_dict(self) -> dict[str, Any]:
        """Return the document of docs/reference/workflow-files.md."""
        return document.to_document(self.name, self.description, self.modules, self.nodes, self.links)

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Any],
        *,
        trusted: bool = True,
        folder: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Make a workflow from a document, whole or not at all.

        ``trusted``: False for a stranger's document, which may then use ``http-request`` and ``transform`` only, and
        secrets whose ``allowed_hosts`` say where they may go. ``folder``: where the Python modules of its ``function``
        nodes are; without one they can call registered functions only. Raises WorkflowError, NodeConfigError,
        ReferenceSyntaxError and TrustError, with the place.
        """
        parsed = document.parse_document(data)
        path = None if folder is None else Path(folder).resolve()
        nodes, problems = document.build_nodes(parsed, trusted=trusted, folder=path)
        if problems:
            place, error = problems[0]
            raise error.placed(path=place)
        links = [Link.parse(link) for link in parsed.links]
        workflow = cls(
            parsed.name, nodes.values(), links, description=parsed.description, modules=parsed.modules
        )
        workflow.trusted = trusted
        return workflow

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, trusted: bool = True) -> Self:
        """Read a workflow file: JSON by its name, else YAML. Errors name the file, the line and the column.

        Loading a file is the caller's word that it may do what any workflow may; ``trusted=False`` is for files of
        strangers (see ``from_dict``). Raises what ``from_dict`` raises.
        """
        path = Path(path)
        folder = path.resolve().parent
        text = ""
        try:
            text = reader.read_text(path)
            return cls.from_dict(
                reader.parse_text(text, reader.is_json(path)), trusted=trusted, folder=folder
            )
        except SealflowError as error:
            problem = error
        if str(path) in problem.message:
            raise problem
        hint = trust_hint(folder) if isinstance(problem, TrustError) else None
        if not problem.path:
            raise problem.placed(str(path), hint=hint)
        line, column = Positions(text).of(place_of(problem.path))
        raise problem.placed(f"{path}:{line}:{column}", hint=hint)

    def dump(self, path: str | os.PathLike[str] | None = None, format: str | None = None) -> str:  # noqa: A002
        """Return the document as text, ``yaml`` or ``json``, and write it to ``path`` where one is given.

        The format is taken from the path's ending, else YAML. It has the configs as they were written.
        """
        if format not in (None, "yaml", "json"):
            raise WorkflowError(f"there is no workflow format {format!r}", hint="Use yaml or json")
        file = None if path is None else Path(path)
        as_json = format == "json" if format else file is not None and reader.is_json(file)
        text = document.to_text(self.to_dict(), as_json=as_json)
        if file is not None:
            document.write_text(file, text)
        return text
