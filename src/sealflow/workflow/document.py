"""Workflow files: the document of format 1, as YAML or JSON, read and written."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from sealflow.errors import SealflowError, WorkflowError
from sealflow.model.validation import validate
from sealflow.workflow.node import BaseNode, RetryPolicy
from sealflow.workflow.node_types import node_class

FORMAT = 1
MAX_BYTES = 4 << 20
MAX_ITEMS = 200_000  # aliases can make a small file a huge document


class NodeDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    type: str
    config: dict[str, Any] = Field(default_factory=dict)
    retry: RetryPolicy | None = None
    timeout: float | None = None


class WorkflowDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    sealflow: int
    name: str
    description: str | None = None
    nodes: dict[str, NodeDocument]
    links: list[str] = Field(default_factory=list)


class Problem(NamedTuple):
    """What is wrong with a document, at its path (``nodes.user.config.auth``)."""

    path: str
    error: SealflowError


def parsed(data: Any) -> WorkflowDocument:
    """Check a document's shape; raise WorkflowError with the path of the first problem."""
    if not isinstance(data, Mapping):
        raise WorkflowError("a workflow is a mapping", hint="Begin with: sealflow: 1")
    version = data.get("sealflow")
    if version is None:
        raise WorkflowError("the workflow does not name its format", hint="Add: sealflow: 1", path="sealflow")
    if type(version) is not int or version != FORMAT:
        raise WorkflowError(
            f"the workflow's format is not {FORMAT}, the only one that this sealflow knows",
            hint="Update sealflow, or correct it",
            path="sealflow",
        )
    document, problems = validate(WorkflowDocument, data)
    if document is not None:
        return document
    problem = problems[0]
    fields = ", ".join((NodeDocument if "nodes" in problem.loc[:1] else WorkflowDocument).model_fields)
    hint = f"Known here: {fields}" if problem.kind == "extra_forbidden" else "Correct the file"
    raise WorkflowError(
        f"the workflow does not fit its format: {problem.message}", hint=hint, path=problem.path
    )


def built_nodes(document: WorkflowDocument) -> tuple[dict[str, BaseNode], list[Problem]]:
    """Make every node that can be made, and say what is wrong with the others."""
    nodes: dict[str, BaseNode] = {}
    problems: list[Problem] = []
    for name, item in document.nodes.items():
        try:
            nodes[name] = node_class(item.type)(name, item.config, retry=item.retry, timeout=item.timeout)
        except WorkflowError as error:
            place = "config." + error.path if error.path else "type"
            problems.append(Problem(f"nodes.{name}.{place}", error))
        except SealflowError as error:
            problems.append(Problem(f"nodes.{name}.config" + (f".{error.path}" if error.path else ""), error))
    return nodes, problems


def to_document(
    name: str, description: str | None, nodes: Mapping[str, BaseNode], links: Iterable[object]
) -> dict[str, Any]:
    """Return the document of a workflow, configs as they were written."""
    items = {}
    for node_name, node in nodes.items():
        item: dict[str, Any] = {"type": node.type_name, "config": node.config}
        if node.retry != RetryPolicy():
            item["retry"] = node.retry.model_dump(exclude_defaults=True)
        if node.timeout is not None:
            item["timeout"] = node.timeout
        items[node_name] = item
    described = {} if description is None else {"description": description}
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
    _yaml().dump(document, stream)
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


def is_json(path: Path) -> bool:
    """Whether a file is read and written as JSON: by its name."""
    return path.suffix.lower() == ".json"


def read_text(path: Path) -> str:
    """Return a workflow file's text; WorkflowError says why it cannot be read."""
    reason = None
    try:
        if path.stat().st_size > MAX_BYTES:
            reason = "is larger than 4 MiB"
        else:
            return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        reason = "is not UTF-8"
    except (OSError, ValueError) as error:
        reason = f"cannot be read ({getattr(error, 'strerror', None) or 'not a path'})"
    raise WorkflowError(f"{path} {reason}", hint="Name a workflow file")


class SyntaxPlace(WorkflowError):  # noqa: N818 - a WorkflowError that knows its place
    """Text that is no YAML or JSON; ``line`` and ``column`` count from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"{message} (line {line}, column {column})", hint="Correct the file")
        self.line = line
        self.column = column


def parse_text(text: str, as_json: bool) -> Any:
    """Return the data of YAML or JSON text: mappings with text keys, lists, texts, numbers, booleans, None.

    The error gives line and column and never quotes the text: it may hold an inline credential.
    """
    failure: tuple[str, int, int] | None = None
    data: Any = None
    try:
        data = json.loads(text, object_pairs_hook=_unique) if as_json else _yaml().load(text)
    except json.JSONDecodeError as error:
        failure = ("this is no JSON", error.lineno, error.colno)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        kind = (
            "a key stands twice"
            if "DuplicateKey" in type(error).__name__
            else "this is no YAML that can be used"
        )
        failure = (kind, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1)
    except (YAMLError, RecursionError, ValueError) as error:
        duplicate = isinstance(error, _DuplicateKeyError)
        failure = ("a key stands twice" if duplicate else "this is no YAML that can be used", 1, 1)
    if failure is not None:
        raise SyntaxPlace(*failure)
    _check_plain(data)
    return data


class _DuplicateKeyError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DuplicateKeyError
    return found


def _check_plain(data: Any) -> None:
    """Refuse what JSON has not, and documents that aliases blow up."""
    waiting, count = [data], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count > MAX_ITEMS:
            raise WorkflowError(
                "the workflow is too large", hint=f"At most {MAX_ITEMS} items, aliases written out"
            )
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise WorkflowError("a key is no text", hint="Quote keys that are numbers, dates or booleans")
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif not isinstance(value, str | int | float | bool | None):
            raise WorkflowError(
                f"a value is a {type(value).__name__}",
                hint="Use texts, numbers, booleans, lists and mappings",
            )


class _Constructor(SafeConstructor):
    """Safe YAML in which a date stays the text that was written."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = 10_000
    yaml.representer.sort_base_mapping_type_on_output = False
    return yaml
