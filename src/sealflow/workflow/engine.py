"""The engine: runs a workflow's nodes as soon as their inputs are there, and records how each one ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from sealflow.errors import ProviderUnavailableError, SealflowError, StoreUnavailableError, WorkflowError
from sealflow.logs import cleaned_logs
from sealflow.model import times
from sealflow.model.json_value import copied
from sealflow.resolver.open_resolver import opened_resolver
from sealflow.resolver.resolver import Resolver
from sealflow.resolver.scope import ExecutionScope
from sealflow.service.secret_service import SecretService
from sealflow.wording import printed
from sealflow.workflow.execution import Execution, NodeRun, NodeState, check_data
from sealflow.workflow.node import (
    DEFAULT_INPUT,
    ERROR_PORT,
    BaseNode,
    NodeContext,
    Outputs,
    Resources,
    Retry,
    RetryPolicy,
)
from sealflow.workflow.workflow import Link, Workflow

log = logging.getLogger("sealflow.workflow")

OnChange = Callable[[Execution, NodeRun], None]


async def run_workflow(
    workflow: Workflow,
    inputs: Any = None,
    *,
    service: SecretService | None = None,
    resolver: Resolver | None = None,
    max_concurrency: int = 10,
    timeout: float | None = None,  # noqa: ASYNC109 - it ends in an Execution, not in an exception
    cancel: asyncio.Event | None = None,
    on_change: OnChange | None = None,
) -> Execution:
    """Run ``workflow`` and return its Execution; a node's failure is recorded there, not raised.

    ``inputs``: any JSON-like data, given on the port ``input`` of every node that no link leads to. Secrets
    come from ``resolver``, else from ``service``, else from the providers of ``sealflow.toml`` (``SEALFLOW_CONFIG``) and
    the store that the environment names. ``timeout`` (seconds)
    and ``cancel`` end the run early with the status ``cancelled``. ``on_change`` is called at each change of a
    node's state. At most ``max_concurrency`` nodes run at a time.
    """
    if max_concurrency < 1:
        raise WorkflowError("max_concurrency is less than 1", hint="Give how many nodes may run at a time")
    check_data(inputs, "the input data")
    async with AsyncExitStack() as stack:
        if resolver is None:
            needed = service is None and any(node.references for node in workflow.nodes.values())
            resolver = stack.enter_context(opened_resolver()) if needed else Resolver(service)
            await stack.enter_async_context(resolver)
        execution = Execution(workflow.name, {name: NodeRun(name) for name in workflow.order()})
        scope = await stack.enter_async_context(
            resolver.scope(workflow.name, execution.id, trusted=workflow.trusted)
        )
        stack.enter_context(cleaned_logs(scope.redactor.clean))
        resources = Resources()
        stack.push_async_callback(resources.close)
        run = _Run(workflow, execution, scope, resources, max_concurrency, on_change)
        await run.run(inputs, timeout, cancel)
        return execution


class _Run:
    """One execution while it goes on: the raw outputs live here, and only here."""

    def __init__(
        self,
        workflow: Workflow,
        execution: Execution,
        scope: ExecutionScope,
        resources: Resources,
        max_concurrency: int,
        on_change: OnChange | None,
    ) -> None:
        self._workflow = workflow
        self._execution = execution
        self._scope = scope
        self._resources = resources
        self._slots = asyncio.Semaphore(max_concurrency)
        self._on_change = on_change
        self._done = {name: asyncio.Event() for name in workflow.nodes}
        self._outputs: dict[str, Outputs] = {}
        self._failed: set[str] = set()
        self._links: dict[str, list[Link]] = {name: [] for name in workflow.nodes}
        for link in workflow.links:
            self._links[link.target].append(link)

    async def run(self, inputs: Any, timeout: float | None, cancel: asyncio.Event | None) -> None:  # noqa: ASYNC109
        nodes = [
            asyncio.create_task(self._node(self._workflow.nodes[name], inputs))
            for name in self._execution.nodes
        ]
        everything = asyncio.gather(*nodes)
        stopper = asyncio.create_task(cancel.wait()) if cancel is not None else None
        cancelled = False
        try:
            waiting: set[asyncio.Future[Any]] = {everything} if stopper is None else {everything, stopper}
            await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            cancelled = not everything.done()
        finally:
            for task in (*nodes, *((stopper,) if stopper else ())):
                task.cancel()
            results = await asyncio.gather(*nodes, return_exceptions=True)
            await asyncio.gather(everything, *((stopper,) if stopper else ()), return_exceptions=True)
            self._finish(cancelled=cancelled)
        for result in results:  # an error of the engine is not a node's failure
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    def _finish(self, *, cancelled: bool) -> None:
        execution, redactor = self._execution, self._scope.redactor
        for run in execution.nodes.values():
            if run.state is NodeState.IDLE:
                self._enter(run, NodeState.SKIPPED, "the execution ended before it could start")
            if run.name in self._outputs:
                run.outputs = redactor.clean_value(self._outputs[run.name])
            if run.error is not None:
                run.error = redactor.clean_value(run.error)
        execution.warnings = [redactor.clean(text) for text in self._scope.warnings.values()]
        execution.finished_at = times.now()
        failed = any(run.state is NodeState.FAILED for run in execution.nodes.values())
        execution.status = "cancelled" if cancelled else "failed" if failed else "completed"
        self._outputs.clear()

    async def _node(self, node: BaseNode, inputs: Any) -> None:
        run = self._execution.nodes[node.name]
        try:
            for link in self._links[node.name]:
                await self._done[link.source].wait()
            ready = self._inputs(node, inputs)
            if isinstance(ready, str):
                self._enter(run, NodeState.SKIPPED, ready)
                return
            async with self._slots:
                await self._attempts(node, run, ready)
        finally:
            if run.state is NodeState.RUNNING:
                run.error = {
                    "type": "CancelledError",
                    "message": "the execution was cancelled while the node ran",
                }
                self._enter(run, NodeState.FAILED)
            self._done[node.name].set()

    def _inputs(self, node: BaseNode, inputs: Any) -> dict[str, Any] | str:
        """Return the data by input port, or why the node is skipped."""
        links = self._links[node.name]
        if not links:
            return {} if inputs is None else {DEFAULT_INPUT: copied(inputs)}
        ready: dict[str, Any] = {}
        ports: dict[str, list[Link]] = {}
        for link in links:
            ports.setdefault(link.input, []).append(link)
            if link.source in self._failed and link.output != ERROR_PORT:
                self._failed.add(node.name)
                return f"{link.source!r} did not complete"
        for port, leading in ports.items():
            # Copies: a node that changes its input must not change what other nodes receive.
            arrived = [
                copied(self._outputs[link.source][link.output])
                for link in leading
                if link.output in self._outputs.get(link.source, {})
            ]
            if not arrived:
                return f"nothing arrived on its port {port!r}"
            ready[port] = arrived[0] if len(leading) == 1 else arrived
        return ready

    async def _attempts(self, node: BaseNode, run: NodeRun, inputs: dict[str, Any]) -> None:
        self._enter(run, NodeState.RUNNING)
        problem: dict[str, str] | None = None
        try:
            async for attempt in _retrying(node.retry):
                with attempt:
                    run.attempts += 1
                    context = NodeContext(node, self._scope, inputs, self._resources, run.attempts)
                    async with asyncio.timeout(node.timeout):
                        outputs = await node.execute(context)
                    check_data(outputs, f"the output of the node {node.name!r}")
                    self._outputs[node.name] = outputs
        except Retry as request:
            problem = _problem_of(request.outputs, node)
            self._outputs[node.name] = request.outputs
        except (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a node raises is that node's failure, sys.exit too
            problem = _describe(error, node)
        if problem is None:
            self._enter(run, NodeState.COMPLETED)
            return
        run.error = self._scope.redactor.clean_value(problem)
        self._failed.add(node.name)
        self._outputs[node.name] = Outputs({ERROR_PORT: {**problem, "node": node.name}})
        log.warning("the node %s failed: %s: %s", node.name, problem["type"], problem["message"])
        self._enter(run, NodeState.FAILED)

    def _enter(self, run: NodeRun, state: NodeState, reason: str | None = None) -> None:
        run.enter(state)
        run.reason = reason
        if self._on_change is not None:
            self._on_change(self._execution, run)


def _problem_of(outputs: Outputs, node: BaseNode) -> dict[str, str] | None:
    try:
        check_data(outputs, f"the output of the node {node.name!r}")
    except WorkflowError as error:
        return _describe(error, node)
    return None


def _describe(error: BaseException, node: BaseNode) -> dict[str, str]:
    name = type(error).__name__
    message = printed(error, str)
    if isinstance(error, TimeoutError) and not message:
        message = f"the node did not end within {node.timeout} seconds"
    if isinstance(error, SystemExit):
        message = f"the node called sys.exit({message})"
    notes = [printed(note, str) for note in getattr(error, "__notes__", None) or ()]
    return {"type": name, "message": "\n".join([message or f"{name} without a message", *notes])}


def _retrying(policy: RetryPolicy) -> AsyncRetrying:
    backoff = wait_exponential(multiplier=policy.delay, max=policy.max_delay) + wait_random(0, policy.delay)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Retry) and error.after is not None:
            return min(error.after, policy.max_delay)
        return backoff(state)

    return AsyncRetrying(
        stop=stop_after_attempt(policy.attempts),
        wait=wait,
        retry=retry_if_exception(_may_succeed_later),
        reraise=True,
    )


def _may_succeed_later(error: BaseException) -> bool:
    """Retry foreign exceptions, and ours only when the system may recover by itself."""
    if isinstance(error, SealflowError):
        return isinstance(error, ProviderUnavailableError | StoreUnavailableError)
    return isinstance(error, Exception)


def unhandled_errors(workflow: Workflow, execution: Execution) -> Iterable[str]:
    """Yield the nodes that completed by sending something to their error port, where no link takes it up."""
    linked = {link.source for link in workflow.links if link.output == ERROR_PORT}
    for run in execution.nodes.values():
        if run.state is NodeState.COMPLETED and ERROR_PORT in run.outputs and run.name not in linked:
            yield run.name
