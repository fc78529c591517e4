"""``sealflow help``: the pages of the documentation, and the help of commands."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from sealflow.cli.terminal import echo, echo_exactly
from sealflow.wording import closest, shown

_FOLDERS = ("how-to", "reference")
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)#\s]*)(?:#[^)]*)?\)")

# What Sphinx fills in: a list of pages, and tables made from the code.
_DIRECTIVE = re.compile(r"^```\{(?:toctree|eval-rst)\}.*?^```\n+", re.MULTILINE | re.DOTALL)


def _complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in _pages() if name.startswith(incomplete)]


@click.command("help")
@click.argument("topic", nargs=-1, shell_complete=_complete)
@click.pass_context
def help_(context: click.Context, topic: tuple[str, ...]) -> None:
    """Show a page of the documentation, or the help of a command; without TOPIC, the list of pages."""
    pages = _pages()
    if not topic:
        width = max(map(len, pages))
        for name, page in pages.items():
            echo(f"{name.ljust(width)}  {_title(page)}")
        echo()
        echo("sealflow help TOPIC shows one; sealflow COMMAND --help tells of a command.")
        return
    name = topic[0].removesuffix(".md")
    if len(topic) == 1 and name in pages:
        _show(pages[name].read_text(encoding="utf-8"), pages)
        return
    root = context.find_root()
    command = _find_command(root, topic)
    if command is None:
        known = (
            [*pages, *root.command.list_commands(root)] if isinstance(root.command, click.Group) else [*pages]
        )
        raise click.UsageError(
            f"there is no help on {shown(' '.join(topic))}. {closest(name, known, what='topics')}"
        )
    echo_exactly(command.get_help(click.Context(command, root, " ".join(topic))))


def _pages() -> dict[str, Traversable]:
    """Return the pages by topic. A wheel holds them in ``sealflow/help``; in a checkout they are in ``docs``."""
    shipped: Traversable = resources.files("sealflow") / "help"
    base = shipped if shipped.is_dir() else Path(__file__).parents[3] / "docs"
    files = [item for folder in _FOLDERS if (base / folder).is_dir() for item in (base / folder).iterdir()]
    found = {item.name.removesuffix(".md"): item for item in files if item.name.endswith(".md")}
    return dict(sorted(found.items()))


def _title(page: Traversable) -> str:
    with page.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip()


def _show(text: str, pages: dict[str, Traversable]) -> None:
    """Print a page: laid out on a terminal, and as it is for a pipe. Links to other pages name their topic."""

    def spelled(link: re.Match[str]) -> str:
        name = Path(link[2]).name.removesuffix(".md")
        return f"{link[1]} (`sealflow help {name}`)" if name in pages else link[1]

    text = _LINK.sub(spelled, _DIRECTIVE.sub("", text)).rstrip()
    if not sys.stdout.isatty():
        echo_exactly(text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


def _find_command(context: click.Context, words: Sequence[str]) -> click.Command | None:
    """Return the command that ``words`` name."""
    command: click.Command | None = context.command
    for word in words:
        command = command.get_command(context, word) if isinstance(command, click.Group) else None
    return command
