"""The text of workflow files, YAML or JSON, read within limits: a small file must not become a lot of work."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, MappingStartEvent, ScalarEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sealflow.errors import WorkflowError

MAX_BYTES = 1 << 20
MAX_YAML_NODES = 20_000
"""Keys, values and items as they are written: what the YAML parser, in Python, reads in less than a second."""
MAX_ITEMS = 100_000
"""Items with aliases and merge keys written out."""
MAX_DEPTH = 100
MAX_ALIASES = 1_000
MAX_REFERENCES = 1_000
"""``{{`` in one string."""
MAX_REFERENCES_IN_ALL = 10_000
MAX_DIGITS = 100

_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
# A string that does not end is one token too, and what has matched is not tried again: the time is linear.
_JSON_TOKEN = re.compile(
    r'("(?:[^"\\]|\\.)*+(?:"|\\?\Z))(\s*+:)?|[\[\]{},]|-?[0-9]{%d,}+' % (MAX_DIGITS + 1), re.DOTALL
)


_KEYS_ARE_STRINGS = "keys must be strings: quote those that are numbers or booleans"
_QUOTE_IT = 'a value that begins with {{ must be in quotes: "{{secrets.NAME.FIELD}}"'
_KEY_TAGS = (":str", ":merge", ":timestamp")


class SyntaxPlace(WorkflowError):  # noqa: N818 - a WorkflowError that knows its place
    """Text that cannot be read as YAML or JSON; ``line`` and ``column`` count from 1."""

    def __init__(self, message: str, line: int, column: int, hint: str = "Correct the file") -> None:
        super().__init__(f"{message} (line {line}, column {column})", hint=hint)
        self.line = line
        self.column = column


def is_json(path: Path) -> bool:
    """Whether a file is read and written as JSON: by its name."""
    return path.suffix.lower() == ".json"


def read_text(path: Path) -> str:
    """Return a workflow file's text; WorkflowError says why it cannot be read."""
    reason = None
    try:
        if path.exists() and not path.is_file():  # a pipe would keep us waiting
            reason = "is not a file"
        elif path.stat().st_size > MAX_BYTES:
            reason = "is larger than 1 MiB"
        else:
            return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        reason = "is not UTF-8"
    except (OSError, ValueError) as error:
        reason = f"cannot be read ({getattr(error, 'strerror', None) or 'not a path'})"
    raise WorkflowError(f"{path} {reason}", hint="Name a workflow file")


def parse_text(text: str, as_json: bool) -> Any:
    """Return the data of YAML or JSON text: mappings with string keys, lists, strings, numbers, booleans, None.

    The error gives line and column and never quotes the text: it may hold an inline credential.
    """
    if text.count("{{") > MAX_REFERENCES_IN_ALL:
        first = next(islice(re.finditer(r"\{\{", text), MAX_REFERENCES_IN_ALL, None)).start()
        place = text.count("\n", 0, first) + 1, first - text.rfind("\n", 0, first)
        raise SyntaxPlace(f"the workflow has more than {MAX_REFERENCES_IN_ALL} references", *place)
    data = _parse_json(text) if as_json else _parse_yaml(text)
    _check_plain(data)
    return data


def compose(text: str) -> Node | None:
    """Return the tree of YAML text, with its marks; YAMLError, RecursionError or SyntaxPlace where there is none."""
    root: Node | None = new_yaml().compose(text)
    return root


def new_yaml() -> YAML:
    """Return a reader and writer of workflow files in YAML."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _LimitedComposer
    yaml.Constructor = _Constructor
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = 10_000
    yaml.representer.sort_base_mapping_type_on_output = False
    return yaml


def _parse_yaml(text: str) -> Any:
    failure: tuple[str, int, int] | None = None
    try:
        return new_yaml().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        twice = isinstance(error, DuplicateKeyError)
        failure = (
            "the same key is written twice" if twice else "cannot parse this as YAML",
            mark.line + 1 if mark else 1,
            mark.column + 1 if mark else 1,
        )
    except (YAMLError, RecursionError, ValueError):
        failure = ("cannot parse this as YAML", 1, 1)
    raise SyntaxPlace(*failure)


def _parse_json(text: str) -> Any:
    _scan_json(text)
    failure = ("cannot parse this as JSON", 1, 1)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        failure = ("cannot parse this as JSON", error.lineno, error.colno)
    except (RecursionError, ValueError):
        pass
    raise SyntaxPlace(*failure)


def _scan_json(text: str) -> None:
    """Refuse, with its place, what ``json.loads`` would do too much with, or says nothing of."""
    keys: list[set[str]] = []
    for count, token in enumerate(_JSON_TOKEN.finditer(text)):
        start, problem = token[0][0], None
        if start in "[{":
            keys.append(set())
            problem = _too_deep() if len(keys) > MAX_DEPTH else None
        elif start in "]}":
            del keys[-1:]
        elif start == '"':
            if token[2] and keys:
                problem = "the same key is written twice" if token[1] in keys[-1] else None
                keys[-1].add(token[1])
            if token[1].count("{{") > MAX_REFERENCES:
                problem = _too_many_references()
        elif start != ",":
            problem = f"a number has more than {MAX_DIGITS} digits"
        if count > 4 * MAX_ITEMS:
            problem = _too_large()
        if problem is not None:
            line = text.count("\n", 0, token.start()) + 1
            raise SyntaxPlace(problem, line, token.start() - text.rfind("\n", 0, token.start()))


class _LimitedComposer(Composer):
    """Stops at the first node that is beyond a limit."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False
        self._nodes = self._aliases = 0

    def compose_node(self, parent: Any, index: Any) -> Node:
        event = self.parser.peek_event()
        alias = isinstance(event, AliasEvent)
        self._nodes += 1
        self._aliases += alias or event.anchor is not None
        tag = None if alias else event.ctag
        problem = None
        if self._nodes > MAX_YAML_NODES:
            problem = f"the workflow is too large: YAML files have at most {MAX_YAML_NODES} keys and values"
        elif self._aliases > MAX_ALIASES:
            problem = f"the workflow has more than {MAX_ALIASES} anchors and aliases"
        elif self.depth >= MAX_DEPTH:
            problem = _too_deep()
        elif tag is not None and str(tag) not in _TAGS and str(tag) != "!":
            problem = (
                "tags are not used in workflow files; use strings, numbers, booleans, lists and mappings"
            )
        if problem is not None:
            raise _syntax_place(problem, event.start_mark)
        is_key = isinstance(parent, MappingNode) and index is None
        if is_key and not isinstance(event, ScalarEvent | AliasEvent):
            unquoted = isinstance(event, MappingStartEvent) and event.flow_style
            raise _syntax_place(_QUOTE_IT if unquoted else _KEYS_ARE_STRINGS, event.start_mark)
        node: Node = super().compose_node(parent, index)
        if is_key and not str(node.tag).endswith(_KEY_TAGS):
            raise _syntax_place(_KEYS_ARE_STRINGS, event.start_mark)
        if isinstance(node, ScalarNode) and not alias:
            _check_scalar(node)
        return node

    def compose_document(self) -> Any:
        node = super().compose_document()
        _check_size(node, {}, set())
        return node


class _Constructor(SafeConstructor):
    """Safe YAML in which a date stays the string that was written."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def _check_scalar(node: ScalarNode) -> None:
    if node.value.count("{{") > MAX_REFERENCES:
        raise _syntax_place(_too_many_references(), node.start_mark)
    if str(node.tag).endswith((":int", ":float")) and len(node.value) > MAX_DIGITS:
        raise _syntax_place(f"a number has more than {MAX_DIGITS} digits", node.start_mark)


def _check_size(node: Node | None, known: dict[int, tuple[int, int]], above: set[int]) -> tuple[int, int]:
    """Return the number of items in ``node`` and its depth, with aliases and merge keys written out."""
    if not isinstance(node, MappingNode | SequenceNode):
        return 1, 1
    if id(node) in above:
        raise _syntax_place("an alias leads to itself", node.start_mark)
    if id(node) not in known:
        above.add(id(node))
        children = (
            [part for pair in node.value for part in pair] if isinstance(node, MappingNode) else node.value
        )
        sizes = [_check_size(child, known, above) for child in children]
        above.discard(id(node))
        size, depth = 1 + sum(item[0] for item in sizes), 1 + max((item[1] for item in sizes), default=0)
        if size > MAX_ITEMS or depth > MAX_DEPTH:
            raise _syntax_place(_too_large() if size > MAX_ITEMS else _too_deep(), node.start_mark)
        known[id(node)] = size, depth
    return known[id(node)]


def _syntax_place(problem: str, mark: Any) -> SyntaxPlace:
    return SyntaxPlace(problem, mark.line + 1, mark.column + 1)


def _too_deep() -> str:
    return f"the workflow is nested more than {MAX_DEPTH} levels deep"


def _too_large() -> str:
    return f"the workflow is too large: at most {MAX_ITEMS} items, with aliases written out"


def _too_many_references() -> str:
    return f"a string has more than {MAX_REFERENCES} references"


def _check_plain(data: Any) -> None:
    """Refuse what JSON does not have, and documents with too many items."""
    waiting, count = [data], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count > MAX_ITEMS:
            raise WorkflowError(_too_large(), hint="Split the workflow")
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise WorkflowError(_KEYS_ARE_STRINGS, hint="Correct the file")
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif not isinstance(value, str | int | float | bool | None):
            raise WorkflowError(
                f"a value is a {type(value).__name__}",
                hint="Use strings, numbers, booleans, lists and mappings",
            )
