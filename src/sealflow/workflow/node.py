"""BaseNode: what a node is. References in its config work with no code of the node's own."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field

from sealflow.errors import PolicyError, WorkflowError
from sealflow.model.json_value import copied
from sealflow.model.names import NAME_RULE, is_name
from sealflow.model.places import FoundReference, find_references
from sealflow.model.validation import validate
from sealflow.resolver.carried import SecretUse
from sealflow.resolver.scope import ExecutionScope
from sealflow.wording import KEY_IN_NAME, holds_key, shown
from sealflow.workflow.data import DataSource, check_data_places, data_reader, find_data
from sealflow.workflow.flow import ELSE_PORT, Flow
from sealflow.workflow.node_config import NodeConfig, check_written, validated

__all__ = ["BaseNode", "NodeConfig", "NodeContext", "Outputs", "Retry", "RetryPolicy"]

ERROR_PORT = "error"
DEFAULT_INPUT = "input"
DEFAULT_OUTPUT = "output"


class Outputs(dict[str, Any]):
    """What a node gives on each of its output ports: ``return Outputs(output=..., rest=...)``.

    A node that returns anything else gives that on the port ``output``.
    """


class Retry(Exception):  # noqa: N818 - it asks for another attempt, and is not an error
    """Raised by ``process`` to be tried again; after the last attempt ``outputs`` are what the node gives.

    ``after``: seconds that the other side asked to wait, or None.
    """

    def __init__(self, outputs: Outputs, after: float | None = None) -> None:
        super().__init__("the node asks to be tried again")
        self.outputs = outputs
        self.after = after


class RetryPolicy(BaseModel):
    """How often a node is tried, and the seconds in between: ``delay``, doubled each time up to ``max_delay``, with jitter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempts: int = Field(default=1, ge=1, le=100)
    delay: float = Field(default=1.0, ge=0, le=3600)
    max_delay: float = Field(default=60.0, ge=0, le=86400)


class Closable(Protocol):
    async def close(self) -> None: ...


_Closable = TypeVar("_Closable", bound=Closable)


class Resources:
    """Things that the nodes of one execution share, such as an HTTP session; closed when it ends."""

    def __init__(self) -> None:
        self._held: dict[str, Closable] = {}

    def get(self, key: str, make: Callable[[], _Closable]) -> _Closable:
        """Return what is held under ``key``, made when it is first asked for."""
        if key not in self._held:
            self._held[key] = make()
        return cast("_Closable", self._held[key])

    async def close(self) -> None:
        """Close everything that is held."""
        while self._held:
            await self._held.popitem()[1].close()


RunNested = Callable[[Any, Any], Awaitable[dict[str, Any]]]
"""Takes a Workflow and its inputs, and gives the outputs of its end nodes by name."""


class NodeContext:
    """What ``process`` is given besides its config.

    ``inputs``: data by input port; ``node``, ``workflow``, ``execution``: names; ``attempt`` counts from 1;
    ``uses``: the secrets in the config; ``referenced``: the config paths that held a reference; ``data``: the pieces of
    data in the config; ``log``: a logger.
    """

    def __init__(
        self,
        node: BaseNode,
        scope: ExecutionScope,
        inputs: Mapping[str, Any],
        resources: Resources,
        attempt: int = 1,
        nodes: Mapping[str, Any] | None = None,
        run_nested: RunNested | None = None,
    ) -> None:
        self.node = node.name
        self.workflow = scope.workflow
        self.execution = scope.execution
        self.inputs = inputs
        self.attempt = attempt
        self.resources = resources
        self.uses: tuple[SecretUse, ...] = ()
        self.references = node.references
        self.data = node.data
        self._data_of = data_reader(
            DataSource(inputs.get(DEFAULT_INPUT), nodes or {}), node.data, node.url_fields
        )
        self.referenced: tuple[str, ...] = tuple(item.path for item in node.references)
        self.log = logging.getLogger(f"sealflow.node.{node.name}")
        self.run_nested = run_nested
        """Runs a workflow inside this execution: ``await run_nested(workflow, inputs)`` gives its end nodes' outputs."""
        self._scope = scope

    @property
    def input(self) -> Any:
        """The data on the port ``input``, or None."""
        return self.inputs.get(DEFAULT_INPUT)

    async def resolve(self, config: Any) -> Any:
        """Return ``config`` with its references resolved and its data filled in, and set ``uses``.

        For what the workflow's author wrote, never for data.
        """
        resolved = await self._scope.resolve_with_uses(config, self.node, self._data_of)
        self.uses = resolved.uses
        return resolved.config

    def learn(self, value: str) -> None:
        """Mask ``value`` too in what leaves this execution: a string that was made from a secret."""
        self._scope.redactor.add(value)

    def holds_secret(self, text: str) -> bool:
        """Whether ``text`` contains a value that this execution revealed, in any of its usual encodings."""
        return self._scope.redactor.holds(text)

    def masked(self, text: str) -> str:
        """Return ``text`` with every value that this execution revealed replaced by ``***``."""
        return self._scope.redactor.clean(text)

    def uses_in(self, *fields: str) -> tuple[SecretUse, ...]:
        """Return the secrets that these top-level fields of the config refer to."""
        names = {
            item.reference.name
            for item in self.references
            if item.path.replace("[", ".").partition(".")[0] in fields
        }
        return tuple(use for use in self.uses if use.name in names)

    def carried(
        self, request_text: Callable[[], str], destination: str, uses: Iterable[SecretUse]
    ) -> tuple[SecretUse, ...]:
        """Return the secrets, other than ``uses`` and those already sent to this destination, whose values occur in the text
        that ``request_text()`` returns.
        """
        return self._scope.carried(request_text, uses, destination)

    def note_sent(self, destination: str, uses: Iterable[SecretUse]) -> None:
        """Record that secrets of this node were sent to a destination."""
        self._scope.note_sent(uses, destination)

    def note_denied(self, error: PolicyError) -> None:
        """Write into the audit trail that a policy kept this node's secrets, or the one the error names, from going out."""
        names = [error.secret] if error.secret else [use.name for use in self.uses]
        self._scope.note_denied(names, self.node, type(error).__name__)


class BaseNode:
    """A step of a workflow: give ``Config``, ports and ``process``.

    ::

        class Greet(BaseNode):
            type_name = "greet"

            class Config(NodeConfig):
                name: str
                token: SecretStr

            async def process(self, context, config):
                return {"greeting": f"Hello {config.name}"}

    The config may hold references anywhere. They are parsed here, resolved just before ``process``, and the
    node keeps its config as it was written. Raises ReferenceSyntaxError and NodeConfigError, with the place.
    """

    type_name: ClassVar[str] = ""
    inputs: ClassVar[tuple[str, ...]] = (DEFAULT_INPUT,)
    outputs: ClassVar[tuple[str, ...]] = (DEFAULT_OUTPUT,)
    Config: ClassVar[type[BaseModel]] = NodeConfig
    url_fields: ClassVar[tuple[str, ...]] = ()
    """Fields of the config that are urls: data in them is percent-encoded, and cannot change scheme, host or port."""
    no_data: ClassVar[tuple[str, ...]] = ()
    """Config paths where ``{{input…}}``, ``{{nodes…}}`` and ``{{env…}}`` are refused, because they decide where a secret goes."""
    trusted_fields: ClassVar[tuple[str, ...]] = ()
    """Fields of the config that a workflow file in a folder without trust may not have."""

    def __init__(
        self,
        name: str,
        config: Mapping[str, Any] | None = None,
        *,
        retry: RetryPolicy | Mapping[str, Any] | None = None,
        timeout: float | None = None,
        flow: Flow | Mapping[str, Any] | None = None,
    ) -> None:
        """``flow``: ``when``, ``for_each`` and ``learn``, as in a workflow file; see Flow."""
        if not is_name(name):
            raise WorkflowError(f"{shown(name)} is not a valid node name", hint=NAME_RULE)
        if holds_key(name):
            raise WorkflowError("the name of a node holds a key or a token", hint=KEY_IN_NAME)
        if not isinstance(config, Mapping | None):
            raise WorkflowError(
                f"the config of the node {name!r} is not a mapping", hint="Give {field: value}"
            )
        self.name = name
        self.retry = retry if isinstance(retry, RetryPolicy) else RetryPolicy.model_validate(retry or {})
        if timeout is not None and not 0 < timeout <= 7 * 86400:
            raise WorkflowError(
                f"the timeout of the node {name!r} is not between 0 and a week", hint="Give seconds"
            )
        self.timeout = timeout
        self.flow = flow if isinstance(flow, Flow) else _checked_flow(flow or {}, name)
        self.folder: Path | None = None
        """The folder of the workflow file that the node came from, with all links followed; None for one made in code."""
        self._written: dict[str, Any] = copied(config or {})
        self._prepared = self.prepare(copied(self._written))
        self.references: tuple[FoundReference, ...] = tuple(find_references(self._prepared))
        self.data = find_data(self._prepared)
        check_data_places(self._prepared, self.data, self.url_fields, self.no_data)
        check_written(self.Config, self._prepared, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def config(self) -> dict[str, Any]:
        """A copy of the config as it was written, references and all."""
        written: dict[str, Any] = copied(self._written)
        return written

    def needed_nodes(self) -> tuple[str, ...]:
        """Return the nodes whose outputs the config names (``{{nodes.NAME…}}``): each is a link to this node."""
        return tuple(dict.fromkeys(item.data.path[0] for item in self.data if item.data.source == "nodes"))

    @classmethod
    def prepare(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Return the config with a node's own shorthands spelled out as references; ``config`` is a copy."""
        return config

    @classmethod
    def output_ports(cls) -> tuple[str, ...]:
        """The declared ports, and ``error``, which every node has."""
        return (*cls.outputs, *(() if ERROR_PORT in cls.outputs else (ERROR_PORT,)))

    def ports(self) -> tuple[str, ...]:
        """Return the output ports of this node: those of its type, and ``else`` where it has a condition."""
        return (*self.output_ports(), *((ELSE_PORT,) if self.flow.when is not None else ()))

    async def process(self, context: NodeContext, config: Any) -> Any:
        """Do the work; ``config`` is an instance of ``Config`` with every reference resolved."""
        raise NotImplementedError

    async def execute(self, context: NodeContext) -> Outputs:
        """Resolve, validate, process. Raises what any of the three raises; ``process`` is not called after a failure."""
        config = validated(self.Config, await context.resolve(self._prepared), self.references, self.name)
        result = await self.process(context, config)
        outputs = result if isinstance(result, Outputs) else Outputs({self.outputs[0]: result})
        unknown = set(outputs) - set(self.output_ports())
        if unknown:
            raise WorkflowError(
                f"the node {self.name!r} gave data on the port {min(unknown)!r}, which it does not have",
                hint=f"Its ports are: {', '.join(self.output_ports())}",
            )
        return outputs


def _checked_flow(flow: Mapping[str, Any], node: str) -> Flow:
    checked, problems = validate(Flow, dict(flow))
    if checked is None:
        raise WorkflowError(
            f"{problems[0].path} of the node {node!r} does not fit: {problems[0].message}",
            hint="Write a JMESPath expression over the inputs, such as input.status_code == `200`",
        )
    return checked
