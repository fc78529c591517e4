"""What a run gave, for a person and for a pipe. Outputs are masked when they come here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from sealflow.cli.terminal import coloured, echo, echo_data
from sealflow.errors import WorkflowError
from sealflow.wording import closest

if TYPE_CHECKING:
    from sealflow.workflow.execution import Execution, NodeRun
    from sealflow.workflow.workflow import Workflow

_MOST_LINES = 20
_MOST_COLUMNS = 160
_SIGNS = {"completed": ("ok", "green"), "failed": ("FAILED", "red"), "skipped": ("skipped", "yellow")}


def print_summary(execution: Execution, stream: TextIO) -> None:
    """Print a line for each node and one for the run."""
    width = max((len(name) for name in execution.nodes), default=0)
    for name, item in execution.nodes.items():
        sign, colour = _SIGNS.get(item.state, (str(item.state), ""))
        echo(f"{name.ljust(width)}  ", coloured(sign, colour, stream), _detail(item), file=stream)
    colour = "green" if execution.status == "completed" else "red"
    echo(f"{execution.workflow}: ", coloured(execution.status, colour, stream), file=stream)


def print_results(execution: Execution, names: Iterable[str], stream: TextIO) -> None:
    """Print the beginning of what each of the nodes gave, except on its error port."""
    for name in names:
        for path, value in _shown_outputs(name, execution.nodes[name].outputs):
            lines = _as_lines(value)
            echo(file=stream)
            echo(coloured(path, "cyan", stream), ":", file=stream)
            for line in lines[:_MOST_LINES]:
                cut = line if len(line) <= _MOST_COLUMNS else line[: _MOST_COLUMNS - 3] + "..."
                echo_data(f"  {cut}", file=stream)
            if len(lines) > _MOST_LINES:
                more = f"... {len(lines) - _MOST_LINES} more lines; --output {path} prints all of it as JSON"
                echo(f"  {more}", file=stream)


def check_output_path(path: str, workflow: Workflow) -> None:
    """Raise WorkflowError, before anything runs, where ``--output`` names a node that is not there."""
    name = path.partition(".")[0]
    if name not in workflow.nodes:
        raise WorkflowError(
            f"--output: there is no node {name!r}", hint=closest(name, workflow.nodes, what="nodes")
        )


def find_output(execution: Execution, path: str) -> Any:
    """Return what is at ``NODE.path`` of a run; WorkflowError names the part that is not there.

    The path begins at the node's port ``output``; where the node gave nothing there, with the name of a port.
    """
    name, *keys = path.split(".")
    run = execution.nodes[name]
    value: Any = run.outputs.get("output", run.outputs)
    if value is run.outputs and not (keys and keys[0] in value):
        ports = ", ".join(f"{name}.{port}" for port in value)
        raise WorkflowError(
            f"--output: the node {name!r} gave nothing on its port output: it is {run.state}",
            hint=f"It gave {ports}" if ports else "See its line above",
        )
    for number, key in enumerate(keys, 1):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isascii() and key.isdigit() and int(key[:9]) < len(value):
            value = value[int(key[:9])]
        else:
            known = value if isinstance(value, Mapping) else ()
            raise WorkflowError(
                f"--output: the output has nothing at {'.'.join([name, *keys[:number]])}",
                hint=closest(key, map(str, known), what="keys there")
                if known
                else "Give a shorter path to see what is there",
            )
    return value


def _shown_outputs(name: str, outputs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what a person wants to see, with its path for ``--output``: of an HTTP answer the body."""
    for port, value in outputs.items():
        path = name if port == "output" else f"{name}.{port}"
        if isinstance(value, Mapping) and {"status_code", "body"} <= set(value):
            path, value = f"{path}.body", value["body"]  # noqa: PLW2901
        if port != "error" and value not in (None, "", {}, []):
            yield path, value


def _as_lines(value: Any) -> list[str]:
    from sealflow.workflow.execution import json_text

    text = value if isinstance(value, str) else json_text(value)
    return [line.expandtabs() for line in text.replace("\r\n", "\n").split("\n")]


def _detail(item: NodeRun) -> str:
    if item.error is not None:
        return f"  {item.error['type']}: {' '.join(item.error['message'].split())}"
    if item.reason is not None:
        return f"  {item.reason}"
    output = item.outputs.get("output")
    status = output.get("status_code") if isinstance(output, dict) else None
    tries = f"  after {item.attempts} attempts" if item.attempts > 1 else ""
    return (f"  {status}" if status is not None else "") + tries
