"""The engine: runs a workflow's nodes as soon as their inputs are there, and records how each one ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
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
from sealflow.workflow.flow import ELSE_PORT
from sealflow.workflow.node import (
    DEFAULT_INPUT,
    DEFAULT_OUTPUT,
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

MAX_NESTING = 8
"""Workflows inside workflows."""

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
        depth: int = 0,
    ) -> None:
        self._workflow = workflow
        self._max_concurrency = max_concurrency
        self._depth = depth
        self._execution = execution
        self._scope = scope
        self._resources = resources
        self._slots = asyncio.Semaphore(max_concurrency)
        self._on_change = on_change
        self._done = {name: asyncio.Event() for name in workflow.nodes}
        self._outputs: dict[str, Outputs] = {}
        self._failed: set[str] = set()
        self._handled = {link.source for link in workflow.links if link.output == ERROR_PORT}
        """The nodes whose port ``error`` a link takes up."""
        self._links: dict[str, list[Link]] = {name: [] for name in workflow.nodes}
        for link in workflow.links:
            self._links[link.target].append(link)

    async def run(
        self,
        inputs: Any,
        timeout: float | None,  # noqa: ASYNC109
        cancel: asyncio.Event | None,
    ) -> dict[str, Outputs]:
        """Run every node and return their outputs as they are, with the values in them."""
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
            outputs = dict(self._outputs)
            self._finish(cancelled=cancelled)
        for result in results:  # an error of the engine is not a node's failure
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result
        return outputs

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
            for source in (*(link.source for link in self._links[node.name]), *node.needed_nodes()):
                await self._done[source].wait()
            ready = self._inputs(node, inputs)
            if isinstance(ready, str):
                self._enter(run, NodeState.SKIPPED, ready)
                return
            if not self._is_wanted(node, run, ready):
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
        for name in node.needed_nodes():
            if name in self._failed or DEFAULT_OUTPUT not in self._outputs.get(name, {}):
                self._failed |= {node.name} if name in self._failed else set()
                return f"{name!r} gave no data"
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

    def _is_wanted(self, node: BaseNode, run: NodeRun, inputs: dict[str, Any]) -> bool:
        """Whether the node's condition is true; where it is not, its input goes to the port ``else``."""
        try:
            wanted = node.flow.is_wanted({DEFAULT_INPUT: None, **inputs})
        except WorkflowError as error:
            self._enter(run, NodeState.RUNNING)
            run.error = self._scope.redactor.clean_value(_describe(error, node))
            self._failed.add(node.name)
            self._enter(run, NodeState.FAILED)
            return False
        if not wanted:
            self._outputs[node.name] = Outputs({ELSE_PORT: inputs.get(DEFAULT_INPUT)})
            self._enter(run, NodeState.SKIPPED, "its condition (when) is false")
        return wanted

    def _named_data(self, node: BaseNode) -> dict[str, Any]:
        """Return the outputs of the nodes that the config of ``node`` names."""
        return {name: self._outputs[name][DEFAULT_OUTPUT] for name in node.needed_nodes()}

    async def _attempts(self, node: BaseNode, run: NodeRun, inputs: dict[str, Any]) -> None:
        self._enter(run, NodeState.RUNNING)
        problem: dict[str, str] | None = None
        try:
            work = self._tried if node.flow.for_each is None else self._for_each
            outputs = await work(node, run, inputs)
            for value in (
                node.flow.find_learned(outputs.get(DEFAULT_OUTPUT)) if DEFAULT_OUTPUT in outputs else ()
            ):
                self._scope.redactor.add(value)
            self._outputs[node.name] = outputs
            if ERROR_PORT in outputs and node.name not in self._handled:
                problem = _summarise(outputs[ERROR_PORT])
        except (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a node raises is that node's failure, sys.exit too
            problem = _describe(error, node)
            self._outputs[node.name] = Outputs({ERROR_PORT: {**problem, "node": node.name}})
        if problem is None:
            self._enter(run, NodeState.COMPLETED)
            return
        run.error = self._scope.redactor.clean_value(problem)
        self._failed.add(node.name)
        log.warning("the node %s failed: %s: %s", node.name, problem["type"], problem["message"])
        self._enter(run, NodeState.FAILED)

    async def _tried(self, node: BaseNode, run: NodeRun, inputs: dict[str, Any]) -> Outputs:
        """Return what the node gives, tried as often as its retry policy says."""
        try:
            if node.retry.attempts == 1:  # most nodes: a retrying object would take longer than they do
                return await self._once(node, run, inputs, 1)
            async for attempt in _retrying(node.retry):
                with attempt:
                    return await self._once(node, run, inputs, attempt.retry_state.attempt_number)
        except Retry as request:
            # Not in a local variable: this frame is in the error's traceback.
            return _checked(request.outputs, node)
        raise AssertionError("retrying ends with a result or an error")

    async def _once(self, node: BaseNode, run: NodeRun, inputs: dict[str, Any], number: int) -> Outputs:
        run.attempts = max(run.attempts, number)
        context = NodeContext(
            node, self._scope, inputs, self._resources, number, self._named_data(node), self._run_nested
        )
        async with asyncio.timeout(node.timeout):
            return _checked(await node.execute(context), node)

    async def _for_each(self, node: BaseNode, run: NodeRun, inputs: dict[str, Any]) -> Outputs:
        """Run the node once for each item, and return a list for each port, in the order of the items."""
        each = node.flow.for_each
        assert each is not None
        items = each.find_items(inputs)
        slots = asyncio.Semaphore(each.concurrency)

        ended = False

        async def one(number: int, item: Any) -> Outputs:
            nonlocal ended
            async with slots:
                if ended:  # an item before this one failed, and its error has not reached the others yet
                    return Outputs()
                try:
                    outputs, problem = (
                        await self._tried(node, run, {**inputs, DEFAULT_INPUT: copied(item)}),
                        None,
                    )
                except SystemExit as error:  # out of a task it would end the program
                    outputs, problem = Outputs(), _describe(error, node)
                except Exception:
                    ended = each.on_error == "fail"
                    raise
                gave_error = problem is not None or isinstance(outputs.get(ERROR_PORT), Mapping)
                ended = ended or (gave_error and each.on_error == "fail")
            if problem is not None:
                raise WorkflowError(problem["message"], hint="Let the function return, or raise an error")
            if gave_error and each.on_error == "fail":
                raise _ItemError({"item": number, **outputs[ERROR_PORT]})
            return outputs

        tasks = [asyncio.create_task(one(number, item)) for number, item in enumerate(items)]
        try:
            results = await asyncio.gather(*tasks, return_exceptions=each.on_error == "continue")
        except _ItemError as error:
            return Outputs({ERROR_PORT: error.output})
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        errors = [
            {"item": number, **_describe(result, node)}
            for number, result in enumerate(results)
            if isinstance(result, BaseException)
        ]
        outputs = [Outputs() if isinstance(result, BaseException) else result for result in results]
        errors += [
            {"item": number, **item[ERROR_PORT]}
            for number, item in enumerate(outputs)
            if isinstance(item.get(ERROR_PORT), Mapping)
        ]
        ports = {port for item in outputs for port in item if port != ERROR_PORT} | {DEFAULT_OUTPUT}
        merged = Outputs({port: [item.get(port) for item in outputs] for port in sorted(ports)})
        if errors:
            merged[ERROR_PORT] = sorted(errors, key=lambda item: item["item"])
        return merged

    async def _run_nested(self, workflow: Workflow, inputs: Any) -> dict[str, Any]:
        """Run a workflow with the secrets of this execution; return the outputs of its end nodes, by name."""
        if self._depth >= MAX_NESTING:
            raise WorkflowError(
                f"workflows are nested more than {MAX_NESTING} deep",
                hint="A file must not lead back to itself",
            )
        execution = Execution(workflow.name, {name: NodeRun(name) for name in workflow.order()})
        run = _Run(
            workflow, execution, self._scope, self._resources, self._max_concurrency, None, self._depth + 1
        )
        outputs = await run.run(inputs, None, None)
        failed = next((item for item in execution.nodes.values() if item.state is NodeState.FAILED), None)
        if failed is not None:
            message = failed.error["message"] if failed.error else "it failed"
            raise WorkflowError(
                f"the node {failed.name!r} of the workflow {workflow.name!r} failed: {message}",
                hint="Run that workflow alone",
            )
        return {name: outputs.get(name, Outputs()).get(DEFAULT_OUTPUT) for name in workflow.end_nodes()}

    def _enter(self, run: NodeRun, state: NodeState, reason: str | None = None) -> None:
        run.enter(state)
        run.reason = reason
        if self._on_change is not None:
            self._on_change(self._execution, run)


def _checked(outputs: Outputs, node: BaseNode) -> Outputs:
    check_data(outputs, f"the output of the node {node.name!r}")
    return outputs


class _ItemError(Exception):
    """One item of a loop gave ``output`` on the port ``error``, and the loop ends at the first such item."""

    def __init__(self, output: dict[str, Any]) -> None:
        super().__init__("an item of the loop gave an error")
        self.output = output


def _summarise(output: Any) -> dict[str, str]:
    """Return type and message of what a node gave on its port ``error``; of a list, those of its first item."""
    first = output[0] if isinstance(output, list) and output else output
    if not isinstance(first, Mapping):
        first = {}
    message = printed(first.get("message") or "the node gave data on its port error", str)
    if isinstance(output, list):
        message = f"{len(output)} items failed, the first with: {message}"
    return {"type": printed(first.get("type") or "ErrorOutput", str), "message": message}


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
