"""Checking workflow files without running them, without decrypting anything, and so without the master key."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sealflow.errors import ReferenceSyntaxError, SealflowError, TrustError, WorkflowError
from sealflow.model import times
from sealflow.model.places import Place, place_of, references_in, spelled_path
from sealflow.model.references import Reference, literal_openings, parse
from sealflow.model.secret import SecretInfo
from sealflow.trust import trust_hint
from sealflow.wording import closest
from sealflow.workflow import document, reader
from sealflow.workflow.nodes.http_auth import spelled_out
from sealflow.workflow.positions import Positions
from sealflow.workflow.workflow import Link, Workflow


class Finding(NamedTuple):
    """One problem; ``line`` and ``column`` count from 1, ``reference`` is None where it is about something else."""

    file: str
    line: int
    column: int
    path: str
    reference: str | None
    problem: str
    hint: str | None


Ask = Callable[[Reference], SealflowError | None]
"""Asks the providers for what a reference names, and returns the error that a run would raise."""


class Known(NamedTuple):
    """What references are checked against: the store's secrets by name, or why there are none to look at.

    ``ask`` is for the references that only a provider can answer; without it they are not checked. ``elsewhere``: where
    there is no store, the providers have every secret.
    """

    secrets: Mapping[str, SecretInfo]
    missing: SealflowError | None = None
    ask: Ask | None = None
    elsewhere: bool = False


class Found(NamedTuple):
    """A well-formed reference and its place in a file."""

    name: str
    path: str
    line: int
    column: int
    written: str


class Checked(NamedTuple):
    """The problems of one file, and all its well-formed references."""

    findings: list[Finding]
    found: list[Found]
    warnings: tuple[str, ...] = ()

    @property
    def references(self) -> int:
        return len(self.found)


def check_file(path: Path, known: Known, *, trusted: bool = True) -> Checked:
    """Return every problem of one workflow file, in the order of its lines. No code of the file's folder is run.

    ``trusted``: False also reports what the file may have in a trusted folder only.
    """
    try:
        text = reader.read_text(path)
        data = reader.parse_text(text, reader.is_json(path))
    except WorkflowError as error:
        line, column = (error.line, error.column) if isinstance(error, reader.SyntaxPlace) else (1, 1)
        return Checked([Finding(str(path), line, column, "", None, error.message, error.hint)], [])
    checker = _Checker(path, Positions(text), known, trusted=trusted)
    checker.structure(data)
    checker.references(data)
    return Checked(
        sorted(set(checker.findings), key=lambda item: item[1:3]), checker.found, tuple(checker.warnings)
    )


class _Checker:
    def __init__(self, path: Path, positions: Positions, known: Known, *, trusted: bool) -> None:
        self.findings: list[Finding] = []
        self.found: list[Found] = []
        self.warnings: list[str] = []
        self._path = path
        self._positions = positions
        self._known = known
        self._workflow: str | None = None
        self._trusted = trusted

    def structure(self, data: Any) -> None:
        """Check format, node types, configs and links."""
        try:
            parsed = document.parse_document(data)
        except WorkflowError as error:
            self._add(place_of(error.path or ""), error)
            return
        self._workflow = parsed.name
        nodes, problems = document.build_nodes(parsed, trusted=self._trusted)
        for problem in problems:
            if not isinstance(problem.error, ReferenceSyntaxError):  # references() finds those one by one
                self._add(place_of(problem.path), problem.error)
        if any(not isinstance(problem.error, TrustError) for problem in problems) or len(nodes) < len(
            parsed.nodes
        ):
            return
        try:
            Workflow(parsed.name, nodes.values())
        except WorkflowError as error:
            self._add(("", "name"), error)
            return
        workflow = Workflow(parsed.name, nodes.values())
        self._check_links(workflow, parsed.links)

    def _check_links(self, workflow: Workflow, texts: list[str]) -> None:
        links: list[tuple[int, Link]] = []
        for index, text in enumerate(texts):
            try:
                links.append((index, workflow.add_link(Link.parse(text))))
            except WorkflowError as error:
                self._add((("", "links"), index), error)

        def find_cycle(count: int) -> WorkflowError | None:
            """Return the error of the first ``count`` links together."""
            try:
                Workflow(workflow.name, workflow.nodes.values(), [link for _, link in links[:count]])
            except WorkflowError as error:
                return error
            return None

        cycle = find_cycle(len(links))
        if cycle is not None:
            first = bisect_left(range(len(links)), True, key=lambda count: find_cycle(count + 1) is not None)
            self._add((("", "links"), links[first][0]), find_cycle(first + 1) or cycle)

    def references(self, data: Any) -> None:
        """Check every reference of every node's config."""
        nodes = data.get("nodes") if isinstance(data, Mapping) else None
        for name, node in nodes.items() if isinstance(nodes, Mapping) else ():
            if not isinstance(node, Mapping) or not isinstance(node.get("config"), Mapping):
                continue
            place: Place = ((("", "nodes"), name), "config")
            for at, value in _texts(node["config"], place):
                self._text(at, value)
            self._auth_secret(node["config"], place)

    def _text(self, place: Place, text: str) -> None:
        try:
            spans = parse(text).spans
        except ReferenceSyntaxError as error:
            self._add(place, error, offset=error.column - 1, value=text)
            return
        for span in spans:
            self._reference(span.reference, place, text[span.start : span.end], span.start, text)
            if text[: span.start].endswith("$"):
                self._literal(
                    place, text, span.start, "the $ in front of this reference is sent too", "Remove the $"
                )
        for start in literal_openings(text):
            problem = "this is neither a reference nor data, and is sent as it is written"
            self._literal(place, text, start, problem, _meant(text[start:]))

    def _literal(self, place: Place, text: str, start: int, problem: str, hint: str) -> None:
        line, column = self._positions.of(place, start, text)
        end = text.find("}}", start)
        written = text[start : end + 2 if end >= 0 else len(text)][:200]
        self.findings.append(
            Finding(str(self._path), line, column, spelled_path(place), written, problem, hint)
        )

    def _auth_secret(self, config: Mapping[str, Any], place: Place) -> None:
        """``auth: {secret: NAME}`` is a reference too."""
        auth = config.get("auth")
        if not isinstance(auth, Mapping) or not isinstance(auth.get("secret"), str) or "{{" in auth["secret"]:
            return
        try:
            found = references_in(spelled_out(auth)["secret"])
        except SealflowError:
            return  # structure() reports it
        for _, reference in found:
            self._reference(reference, ((place, "auth"), "secret"), str(reference), None, "")

    def _reference(
        self, reference: Reference, place: Place, written: str, offset: int | None, value: str
    ) -> None:
        line, column = self._positions.of(place, offset, value)
        self.found.append(Found(reference.name, spelled_path(place), line, column, written))
        problem = self._problem(reference)
        info = self._known.secrets.get(reference.name) if reference.provider in (None, "local") else None
        warning = info and info.metadata.policy.expiry_warning(info.name, times.now())
        if warning:
            self.warnings.append(f"{self._path}:{line}:{column}: {warning}")
        if problem is not None:
            self.findings.append(
                Finding(str(self._path), line, column, spelled_path(place), written, *problem)
            )

    def _problem(self, reference: Reference) -> tuple[str, str | None] | None:
        """Return what is wrong and a hint."""
        pinned = reference.provider not in (None, "local")
        if pinned and not self._trusted:
            return None  # structure() reports it
        if pinned or (self._known.ask is not None and reference.name not in self._known.secrets):
            error = self._known.ask(reference) if self._known.ask is not None else None
            return None if error is None else (error.message, error.hint)
        if self._known.missing is not None and self._known.elsewhere:
            return None
        if self._known.missing is not None:
            return self._known.missing.message, self._known.missing.hint
        info = self._known.secrets.get(reference.name)
        if info is None:
            return f"there is no secret {reference.name!r}", closest(
                reference.name, self._known.secrets, what="secrets"
            )
        policy = info.metadata.policy
        if not self._trusted and (untrusted := policy.untrusted_problem(reference.name)) is not None:
            return untrusted.message, untrusted.hint
        if policy.expired(times.now()):
            return f"the secret {reference.name!r} has expired", "Update it"
        if not policy.allows_workflow(self._workflow):
            return (
                f"the secret {reference.name!r} may not be used by this workflow",
                "See its allowed_workflows",
            )
        fields = _type_fields(info.type)
        if fields and reference.field and reference.field[0] not in fields:
            return f"a secret of type {info.type} has no field {reference.field[0]!r}", closest(
                reference.field[0], fields, what="fields"
            )
        return None

    def _add(self, place: Place, error: SealflowError, offset: int | None = None, value: str = "") -> None:
        written = None
        if offset is not None:
            start = max(value.rfind("{{", 0, offset + 2), 0)
            end = value.find("}}", start)
            written, offset = value[start : end + 2 if end >= 0 else len(value)][:200], start
        line, column = self._positions.of(place, offset, value)
        hint = error.hint
        if isinstance(error, TrustError) and hint is None:
            hint = trust_hint(self._path.resolve().parent)
        self.findings.append(
            Finding(str(self._path), line, column, spelled_path(place), written, error.message, hint)
        )


def _meant(text: str) -> str:
    """Return a hint for what begins with ``{{`` and is sent as it is written."""
    word = text[2:].lstrip().partition(".")[0].lower()
    if word.startswith("secret"):
        return "Did you mean {{secrets.NAME.FIELD}}?"
    if word.startswith(("input", "nodes", "env")):
        return "Data is named by its path alone, without functions: {{input.city}}"
    return "Write {{secrets.NAME.FIELD}} or {{input.PATH}}; if it is meant as it is written, \\{{"


def _texts(value: Any, place: Place) -> list[tuple[Place, str]]:
    """Return the strings with braces."""
    if isinstance(value, str):
        return [(place, value)] if "{{" in value else []
    if isinstance(value, Mapping):
        return [found for key, item in value.items() for found in _texts(item, (place, key))]
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in _texts(item, (place, index))]
    return []


def _type_fields(type_name: str) -> tuple[str, ...]:
    """Return the fields that a type can have; empty where its author chooses them."""
    from pydantic import RootModel

    from sealflow.model.types import type_model

    try:
        model = type_model(type_name)
    except SealflowError:
        return ()  # made where another package is installed
    open_ended = issubclass(model, RootModel) or model.model_config.get("extra") == "allow"
    return () if open_ended else tuple(model.model_fields)
