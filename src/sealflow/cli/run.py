"""``sealflow run``: runs a workflow file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealflow.cli.check import needs_trust
from sealflow.cli.common import json_option, read_input, read_json
from sealflow.cli.output import clean_output
from sealflow.cli.provider import config_option
from sealflow.cli.results import check_output_path, find_output, print_results, print_summary
from sealflow.cli.terminal import LogFormatter, clean, echo, echo_json
from sealflow.cli.trust import folder_to_trust, trust_for_this_command, trust_option
from sealflow.errors import TrustError
from sealflow.trust import find_file_problem, trust_folder

if TYPE_CHECKING:
    from sealflow.workflow.engine import OnChange
    from sealflow.workflow.execution import Execution, NodeRun
    from sealflow.workflow.workflow import Workflow


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@trust_option
@click.option("--input", "input_", metavar="JSON|@FILE|-", help="Data for the nodes that no link leads to.")
@click.option(
    "--max-concurrency", type=click.IntRange(min=1), default=10, show_default=True, help="Nodes at a time."
)
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds for the whole run.")
@click.option(
    "--strict", is_flag=True, help="No effect: data on an error port without a link always fails its node."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="error",
    help="Logs to standard error.",
)
@click.option(
    "--output",
    "output_path",
    metavar="NODE[.PATH]",
    help="Print what this node gave, or a part of it, as JSON for a pipe; the summary goes to standard error.",
)
@json_option
def run(
    file: Path,
    input_: str | None,
    config: Path | None,
    trust_now: bool,
    max_concurrency: int,
    timeout: float | None,
    strict: bool,
    log_level: str,
    output_path: str | None,
    as_json: bool,
) -> None:
    """Run the workflow in FILE. Exit code 0 only when it completed and no node failed.

    It prints how each node ended, and the beginning of what the last nodes gave. What nodes print themselves goes to
    standard error. What it prints holds no secret's value: they are masked as ***.
    """
    from sealflow.workflow.execution import json_text

    if as_json and output_path is not None:
        raise click.UsageError("--json and --output exclude each other")

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=log_level.upper(), handlers=[handler])
    if trust_now:
        trust_for_this_command([folder_to_trust(file)])
    workflow = _load(file, config)
    if output_path is not None:
        check_output_path(output_path, workflow)
    limits = {"max_concurrency": max_concurrency, "timeout": timeout}
    inputs = _input(input_)
    output = clean_output()
    execution = _execute(workflow, inputs, config, file.absolute().parent, limits, quiet=as_json)
    output.finish()
    for warning in execution.warnings:
        echo(f"sealflow: warning: {warning}", err=True)
    if strict:
        echo("sealflow: --strict is not needed any more: such errors always fail the run", err=True)
    if as_json:
        echo_json(execution.to_json(), file=output.real)
    elif output_path is not None:
        print_summary(execution, output.stream)
        echo_json(json_text(find_output(execution, output_path)), file=output.real)
    else:
        print_summary(execution, output.real)
        print_results(execution, workflow.end_nodes(), output.real)
    if execution.status != "completed":
        click.get_current_context().exit(1)


def _load(file: Path, config: Path | None) -> Workflow:
    """Load the workflow; it is trusted only if its folder is."""
    from sealflow.workflow.workflow import Workflow

    problem = find_file_problem(file)
    if problem is not None and _may_ask() and needs_trust(file, config):
        folder = folder_to_trust(file)
        if click.confirm(
            clean(
                f"The workflow needs a folder that you trust. Trust {str(folder)!r} and all that is in it?"
            ),
            err=True,
        ):
            trust_folder(folder)
            problem = find_file_problem(file)
    try:
        return Workflow.load(file, trusted=problem is None)
    except TrustError as error:
        refused = error.placed(hint=problem.hint if problem is not None else None)
    raise refused


def _may_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _input(text: str | None) -> Any:
    if text is None:
        return None
    return read_json(read_input(text, "--input") if text == "-" or text.startswith("@") else text, "--input")


def _execute(
    workflow: Workflow, inputs: Any, config: Path | None, beside: Path, limits: dict[str, Any], *, quiet: bool
) -> Execution:
    from sealflow.resolver.open_resolver import opened_resolver
    from sealflow.resolver.resolver import Resolver
    from sealflow.workflow.engine import run_workflow

    async def execute(resolver: Resolver) -> Execution:
        cancel = asyncio.Event()
        with _cancelled_by_signals(cancel), _progress(workflow, quiet=quiet) as on_change:
            async with resolver:
                return await run_workflow(
                    workflow, inputs, resolver=resolver, cancel=cancel, on_change=on_change, **limits
                )

    if not any(node.references for node in workflow.nodes.values()):
        return asyncio.run(execute(Resolver(None)))  # nothing to open
    with opened_resolver(config, beside=beside) as resolver:
        return asyncio.run(execute(resolver))


@contextlib.contextmanager
def _cancelled_by_signals(cancel: asyncio.Event) -> Iterator[None]:
    """Set ``cancel`` at the first SIGINT or SIGTERM; the second ends the process at once, whatever a node does.

    Not ``loop.add_signal_handler``: what it calls waits for the loop, which a node may block.
    """
    loop = asyncio.get_running_loop()

    def stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        loop.call_soon_threadsafe(cancel.set)

    before = {}
    with contextlib.suppress(ValueError):  # not in the main thread
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _progress(workflow: Workflow, *, quiet: bool) -> Iterator[OnChange | None]:
    """Show what runs, on a terminal; nodes' names and states only."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    # The terminal itself: what nodes print is cleaned on its own way, and rich must not take it over.
    console = Console(file=getattr(sys.stderr, "stream", sys.stderr))
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        task = progress.add_task("", total=len(workflow.nodes))

        def on_change(execution: Execution, _: NodeRun) -> None:
            running = [item.name for item in execution.nodes.values() if item.state == "running"]
            ended = sum(item.finished_at is not None for item in execution.nodes.values())
            progress.update(task, completed=ended, description=clean(", ".join(running[:4])))

        yield on_change
