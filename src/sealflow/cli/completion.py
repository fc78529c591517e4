"""``sealflow completion``: what makes a shell complete commands, options and the names of secrets."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import click

from sealflow.cli.terminal import clean, echo_exactly

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_VARIABLE = "_SEALFLOW_COMPLETE"
_MOST_NAMES = 500


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete commands, options and names of secrets.

    \b
    bash: add to ~/.bashrc                    eval "$(sealflow completion bash)"
    zsh:  add to ~/.zshrc, behind compinit    eval "$(sealflow completion zsh)"
    fish: run once
          sealflow completion fish > ~/.config/fish/completions/sealflow.fish
    """  # noqa: D301 - click's mark for lines that stay as they are
    from click.shell_completion import ShellComplete, get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    # The base class: bash's own would start a bash to ask for its version.
    echo_exactly(ShellComplete.source(kind(click.Group(), {}, "sealflow", _VARIABLE)))


def complete_secrets(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of secrets that begin with ``incomplete``. No key is read, and nothing is printed."""
    from click.shell_completion import CompletionItem

    from sealflow.model.names import is_name
    from sealflow.settings import Settings
    from sealflow.stores.select import open_registry

    warnings.simplefilter("ignore")
    try:
        with open_registry(Settings.load()) as registry:
            # A shell puts a name into the command line as it is; a name of another form was planted.
            found = [
                item for item in registry.find() if is_name(item.name) and item.name.startswith(incomplete)
            ]
    except Exception:  # noqa: BLE001 - a shell that completes is not the place for any error
        return []
    return [CompletionItem(item.name, help=clean(item.type)) for item in found[:_MOST_NAMES]]


def complete_types(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the built-in types that begin with ``incomplete``."""
    from sealflow.model.names import BUILT_IN_TYPES

    return [name for name in BUILT_IN_TYPES if name.startswith(incomplete)]


name_argument = click.argument("name", shell_complete=complete_secrets)
"""The name of a secret that is there."""
