"""``sealflow``: finds the command, and turns every error into one line and an exit code.

Exit codes: 0 done; 1 what was asked failed; 2 wrong usage.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from sealflow import __version__
from sealflow.cli.terminal import echo, echo_exactly
from sealflow.errors import SealflowError
from sealflow.logs import cleaned
from sealflow.wording import holds_key

_COMMANDS = {
    "init": "sealflow.cli.store:init",
    "status": "sealflow.cli.status:status",
    "secret": "sealflow.cli.secret:secret",
    "trust": "sealflow.cli.trust:trust",
    "check": "sealflow.cli.check:check",
    "run": "sealflow.cli.run:run",
    "store": "sealflow.cli.store:store",
    "provider": "sealflow.cli.provider:provider",
    "audit": "sealflow.cli.audit:audit",
    "key": "sealflow.cli.key:key",
    "backup": "sealflow.cli.backup:backup",
    "export": "sealflow.cli.bundle:export",
    "import": "sealflow.cli.bundle:import_",
    "doctor": "sealflow.cli.doctor:doctor",
    "demo": "sealflow.cli.demo:demo",
    "help": "sealflow.cli.help:help_",
    "completion": "sealflow.cli.completion:completion",
}

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class LazyGroup(click.Group):
    """Imports a command when it is called for, so that `secret list` does not pay for the HTTP node."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings=_SETTINGS)
@click.version_option(__version__, "-V", "--version", prog_name="sealflow")
@click.option(
    "--trust-key-path",
    metavar="PATH",
    help="Accept a key file that your platform mounted at PATH or below, readable by others.",
)
@click.pass_context
def app(context: click.Context, trust_key_path: str | None) -> None:
    """Keep credentials encrypted, and hand them to workflow nodes at the moment they run.

    \b
    Begin with:   sealflow demo     see it work
                  sealflow init     make a store here
                  sealflow help     read the documentation
    Exit codes:   0 done, 1 what was asked failed, 2 wrong usage
    """  # noqa: D301 - click's mark for lines that stay as they are
    if trust_key_path is not None:
        from sealflow.crypto.key_file import trusting_key_path

        context.with_resource(trusting_key_path(os.path.abspath(trust_key_path)))  # noqa: PTH100


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    sys.exit(_run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    streams = sys.stdout, sys.stderr
    try:
        return _run(arguments)
    finally:
        sys.stdout, sys.stderr = streams


def _run(arguments: Sequence[str] | None) -> int:
    _no_core_dumps()
    warnings.showwarning = _show_warning
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if any(map(_is_key, arguments)):
        return _say(
            "an argument holds what looks like a master key or a token. Never give one on a command line, where every user "
            "of the machine sees it: see --help. If it is real, replace it",
            2,
        )
    try:
        code: Any = app.main(args=arguments, prog_name="sealflow", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        echo_exactly(error.format_message())
        return 0
    except click.UsageError as error:
        return _usage(error)
    except click.ClickException as error:
        return _say(error.format_message(), 1)
    except (click.Abort, KeyboardInterrupt):
        return _say("stopped; nothing more was done", 1)
    except SealflowError as error:
        return _say(str(error), 1)
    except BrokenPipeError:
        # The process that read our output has ended.
        os.dup2(os.open(os.devnull, os.O_WRONLY), getattr(sys.stdout, "real", sys.stdout).fileno())
        return 1
    except OSError as error:
        return _say(
            f"{error.filename or 'a file'} cannot be used ({error.strerror or type(error).__name__})", 1
        )
    except Exception as error:  # noqa: BLE001 - a defect of ours; its message may contain a value, so it is not shown
        return _say(f"internal error ({type(error).__name__} in {_where(error)}). Please report it", 1)


def _usage(error: click.UsageError) -> int:
    """Say what is wrong; what click quotes may be a value that somebody typed as an argument."""
    message = error.format_message()
    if "unexpected extra argument" in message:
        message = "there are more arguments than the command takes. Values never stand on a command line: see --help"
    context = error.ctx.command_path if error.ctx is not None else "sealflow"
    message = message.rstrip(".")
    return _say(f"{message}{'' if message.endswith('?') else '.'} Try `{context} --help`", 2)


def _say(message: str, code: int) -> int:
    echo(f"sealflow: {cleaned(' '.join(message.split()))}", err=True)
    return code


def _is_key(argument: str) -> bool:
    """Whether an argument holds a key. 64 hex digits are also a hash, which a path that exists or JSON may hold."""
    if not holds_key(argument):
        return False
    value = argument.partition("=")[2] or argument
    return "sfk1_" in value.lower() or not (value.startswith(("{", "[")) or os.path.lexists(value))


def _where(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"  # noqa: PTH119


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    echo(f"sealflow: warning: {cleaned(str(message))}", err=True)


def _no_core_dumps() -> None:
    """A crash must not write our memory to a file."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
