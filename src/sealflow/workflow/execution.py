"""What is known of a run: the state of each node, its outputs, its error. Never a secret's value."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sealflow.errors import NodeStateError
from sealflow.model import times


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
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else times.to_text(moment)
