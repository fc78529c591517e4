"""The record of a run: the state of each node, its outputs, its error. Never a secret's value."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sealflow.errors import NodeStateError, WorkflowError
from sealflow.model import times
from sealflow.resolver.plain import MAX_DEPTH
from sealflow.wording import UNPRINTABLE, printed

_MOST_ITEMS = 3_000_000
"""Items of one output: a structure that refers to itself many times over would never end."""

_MOST_CHARACTERS = 100_000_000
"""Characters of one output, each string counted as often as it occurs."""

_MOST_BITS = 14_000
"""Bits of the longest integer; Python refuses to write more than 4,300 digits."""

_END = object()
_TEXT = (str, bytes)
_CONTAINERS = (list, dict, tuple, Mapping)
_SURROGATE = re.compile("[\ud800-\udfff]")


class NodeState(StrEnum):
    """Where a node is in one execution."""

    IDLE = "idle"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


_FOLLOWING = {
    NodeState.IDLE: {NodeState.RUNNING, NodeState.SKIPPED},
    NodeState.RUNNING: {NodeState.COMPLETED, NodeState.FAILED},
    NodeState.COMPLETED: set(),
    NodeState.FAILED: set(),
    NodeState.SKIPPED: set(),
}


@dataclass(slots=True)
class NodeRun:
    """One node in one execution: a workflow may run many times at once, so this is not kept in the node.

    ``outputs`` are there when the execution has ended, by port, JSON-like, with every secret's value masked;
    ``error`` is ``{"type": ..., "message": ...}``; ``reason`` says why a node was skipped.
    """

    name: str
    state: NodeState = NodeState.IDLE
    attempts: int = 0
    outputs: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] | None = None
    reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def enter(self, state: NodeState) -> None:
        """Go to the next state; NodeStateError when it does not follow this one."""
        if state not in _FOLLOWING[self.state]:
            raise NodeStateError(
                f"the node {self.name!r} is {self.state} and cannot become {state}",
                hint="Start a new execution",
            )
        self.state = state
        if state is NodeState.RUNNING:
            self.started_at = times.now()
        else:
            self.finished_at = times.now()

    def to_dict(self) -> dict[str, Any]:
        return {
            "state": self.state.value,
            "outputs": self.outputs,
            "error": self.error,
            "attempts": self.attempts,
            "reason": self.reason,
            "started_at": _time(self.started_at),
            "finished_at": _time(self.finished_at),
        }


@dataclass(slots=True)
class Execution:
    """One run of a workflow. ``status``: running, completed, failed (a node failed) or cancelled."""

    workflow: str
    nodes: dict[str, NodeRun]
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    status: str = "running"
    started_at: datetime = field(default_factory=times.now)
    finished_at: datetime | None = None
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON shape that ``sealflow run --json`` prints (docs/reference/json-output.md)."""
        return {
            "status": self.status,
            "workflow": self.workflow,
            "execution": self.id,
            "started_at": _time(self.started_at),
            "finished_at": _time(self.finished_at),
            "warnings": self.warnings,
            "nodes": {name: run.to_dict() for name, run in self.nodes.items()},
        }

    def to_json(self, indent: int | None = 2) -> str:
        """Return ``to_dict`` as JSON text."""
        return json_text(self.to_dict(), indent)


def json_text(data: Any, indent: int | None = 2) -> str:
    """Return a run's data as JSON text that can be written as UTF-8."""
    text = json.dumps(data, indent=indent, ensure_ascii=False, allow_nan=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def check_data(value: Any, what: str, *, max_items: int = _MOST_ITEMS) -> None:
    """Raise WorkflowError where data cannot be passed on and saved: it is too deep, cyclic, too much, or not printable."""
    levels = [iter([value])]
    seen = characters = 0
    problem = None
    while levels and problem is None:
        item = next(levels[-1], _END)
        seen += 1
        if item is _END:
            levels.pop()
        elif isinstance(item, _TEXT):
            characters += len(item)
        elif isinstance(item, _CONTAINERS):
            problem, parts = _parts(item)
            levels.append(iter(parts))
        elif item is not None and not isinstance(item, float):
            problem = _scalar_problem(item)
        if len(levels) > MAX_DEPTH + 2:
            problem = f"contains itself or is nested more than {MAX_DEPTH} levels deep"
        elif seen > max_items:
            problem = f"holds more than {max_items:,} items"
        elif characters > _MOST_CHARACTERS:
            problem = f"holds more than {_MOST_CHARACTERS:,} characters"
    if problem is not None:
        raise WorkflowError(
            f"{what} {problem}", hint="Give JSON-like data: strings, numbers, lists and mappings"
        )


def _scalar_problem(item: Any) -> str | None:
    if isinstance(item, int):
        bits = item.bit_length()
        too_long = f"holds an integer of {bits:,} bits, which is too long to be written in decimal"
        return too_long if bits > _MOST_BITS else None
    return f"holds an object that {printed(item)[1:-1]}" if printed(item).startswith(UNPRINTABLE) else None


def _parts(container: Any) -> tuple[str | None, list[Any]]:
    try:
        return None, list(container.values() if isinstance(container, Mapping) else container)
    except Exception as error:  # noqa: BLE001 - a mapping or list of somebody else's making
        return f"holds a {type(container).__name__} that raises {type(error).__name__} when it is read", []


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else times.to_text(moment)
