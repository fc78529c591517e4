"""``sealflow secret``: create, get, list, update, delete. Values never come from an argument."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from sealflow.cli.common import confirm, expected_option, json_option, open_listing, options, read_tags
from sealflow.cli.completion import complete_types, name_argument
from sealflow.cli.edit import edit
from sealflow.cli.prompts import given_fields
from sealflow.cli.rename import copy, rename
from sealflow.cli.terminal import clean, echo, echo_exactly, print_json, print_table
from sealflow.cli.usage import usage
from sealflow.cli.versions import destroy, history, rollback, undelete
from sealflow.model import times
from sealflow.model.names import canonical_type

if TYPE_CHECKING:
    from sealflow.model.secret import SecretInfo

_CLEARABLE = ("description", "tags", "expires-at", "allowed-hosts", "allowed-workflows")


def _read_expiry(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    return None if text is None else times.read_moment(text, "--expires-at")


_data_options = options(
    click.option(
        "--field",
        "fields",
        multiple=True,
        metavar="NAME[=@FILE|=@-]",
        help="A field: NAME alone asks for its value without echo, NAME=@FILE reads it from a file, "
        "NAME=@- from standard input. Repeatable.",
    ),
    click.option(
        "--from-json", metavar="-|@FILE", help="All fields as a JSON object, from standard input or a file."
    ),
)
_short_option = click.option(
    "--allow-short", is_flag=True, help="Accept values of under 4 characters, which cannot be masked."
)
_public_options = options(
    click.option(
        "--public",
        "public_fields",
        multiple=True,
        metavar="FIELD",
        help="A field of a custom secret that is not confidential: it is not masked, and may be short. Repeatable.",
    ),
    click.option("--mask-all", is_flag=True, help="No field is public, also not a username."),
)
_metadata_options = options(
    click.option("--description", help="What the secret is for."),
    click.option("--tag", "tags", multiple=True, callback=read_tags, help="A tag. Repeatable."),
    click.option(
        "--expires-at",
        metavar="TIME",
        callback=_read_expiry,
        help="When it stops being handed out: 90d, 2027-01-31 or 2027-01-31T09:00:00Z.",
    ),
    click.option(
        "--allowed-host",
        "allowed_hosts",
        multiple=True,
        help="A host it may be sent to, or *.example.com; http:// in front allows it without TLS. Repeatable.",
    ),
    click.option(
        "--allowed-workflow",
        "allowed_workflows",
        multiple=True,
        help="A workflow's name or pattern. Repeatable.",
    ),
)


@click.group()
def secret() -> None:
    """Create, look at, change and delete secrets."""


for command in (usage, history, rollback, undelete, destroy, rename, copy, edit):
    secret.add_command(command)


@secret.command()
@click.argument("name")
@click.option(
    "--type",
    "type_name",
    required=True,
    shell_complete=complete_types,
    help="api_key, basic_auth, bearer_token, oauth or custom.",
)
@_data_options
@_metadata_options
@_public_options
@_short_option
@click.option(
    "--init", "make_store", is_flag=True, help="Make a store here if there is none: `sealflow init`."
)
@json_option
def create(
    name: str,
    type_name: str,
    fields: tuple[str, ...],
    from_json: str | None,
    public_fields: tuple[str, ...],
    mask_all: bool,
    allow_short: bool,
    make_store: bool,
    as_json: bool,
    **metadata: Any,
) -> None:
    """Create the secret NAME.

    Its values come from prompts, from files (--field NAME=@FILE), from standard input (--field NAME=@-), or as JSON
    (--from-json -). A type with one required field takes it from standard input as it is.
    """
    from sealflow.model.types import type_model
    from sealflow.service.open_service import open_existing

    required = [
        key
        for key, field in type_model(type_name).model_fields.items()
        if field.is_required() and key != "root"
    ]
    _ensure_store(make_store)
    with open_existing() as service:
        service.check_new_name(name)  # before anybody types a value
        data = given_fields(fields, from_json, required, custom=canonical_type(type_name) == "custom")
        info = service.create_secret(
            name,
            type_name,
            data or {},
            description=metadata["description"],
            tags=metadata["tags"],
            expires_at=metadata["expires_at"],
            allowed_hosts=metadata["allowed_hosts"] or None,
            allowed_workflows=metadata["allowed_workflows"] or None,
            allow_short=allow_short,
            public_fields=_public(public_fields, mask_all),
        )
    _print_done(info, as_json, "created")


@secret.command()
@name_argument
@click.option("--version", type=click.IntRange(min=1), help="An older version; the last 10 are kept.")
@click.option("--field", help="One field, by its path (server.port). Needs --reveal.")
@click.option("--reveal", is_flag=True, help="Print values.")
@json_option
def get(name: str, version: int | None, field: str | None, reveal: bool, as_json: bool) -> None:
    """Show the metadata of NAME and the names of its fields; values only with --reveal."""
    from sealflow.service.open_service import open_existing

    if field is not None and not reveal:
        raise click.UsageError("--field prints a value and needs --reveal")
    with open_existing() as service:
        found = service.get_secret(name, version)
    if field is not None:
        _print_field(name, found.data, field, as_json)
        return
    described = {
        **found.info.to_dict(),
        "fields": list(found.fields),
        "public_fields": list(found.public_fields),
    }
    if as_json:
        print_json({**described, "data": found.data} if reveal else described, keys=reveal)
        return
    for key, value in described.items():
        echo(
            f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else '-' if value is None else value}"
        )
    for key, value in found.data.items() if reveal else ():
        echo_exactly(f"data.{key}: {_as_text(value)}")


@secret.command("list")
@click.argument("glob", required=False, metavar="[GLOB]")
@click.option("--type", "type_name", shell_complete=complete_types, help="Only secrets of this type.")
@click.option(
    "--tag",
    "tags",
    multiple=True,
    callback=read_tags,
    help="Only secrets with this tag; if repeated, with all of the tags.",
)
@click.option(
    "--expiring",
    metavar="TIME",
    help="Only secrets that have expired or expire within this time or before it: 14d, 12h, 2w, 2027-01-31.",
)
@json_option
def list_(
    glob: str | None, type_name: str | None, tags: tuple[str, ...], expiring: str | None, as_json: bool
) -> None:
    """List the secrets: metadata only. GLOB chooses by name: 'prod-*'. Needs no master key."""
    from sealflow.service.describe import list_infos

    limit = None if expiring is None else times.read_moment(expiring, "--expiring")
    with open_listing() as registry:
        infos = list_infos(registry, type_name, tags)
    found = [
        info
        for info in infos
        if (glob is None or fnmatchcase(info.name, glob))
        and (limit is None or info.metadata.policy.expired(limit))
    ]
    _print_infos(found, as_json, "No secret matches." if infos or type_name or tags else _NONE_YET)


@secret.command()
@click.argument("text")
@json_option
def search(text: str, as_json: bool) -> None:
    """List the secrets that have TEXT in their name, description or tags, in any case. Needs no master key."""
    from sealflow.service.describe import list_infos

    wanted = text.casefold()
    with open_listing() as registry:
        infos = list_infos(registry)
    found = [
        info
        for info in infos
        if any(
            wanted in part.casefold()
            for part in (info.name, info.metadata.description or "", *info.metadata.tags)
        )
    ]
    _print_infos(found, as_json, "No secret matches." if infos else _NONE_YET)


_NONE_YET = "There are no secrets here yet."


def _print_infos(infos: Iterable[SecretInfo], as_json: bool, none: str) -> None:
    found = [info.to_dict() for info in infos]
    if as_json:
        print_json(found)
    elif found:
        rows = [
            (
                item["name"],
                item["type"],
                str(item["version"]),
                ",".join(item["tags"]),
                item["updated_at"][:19] + "Z",
                item["expires_at"][:19] + "Z" if item["expires_at"] else "-",
                item["description"] or "",
            )
            for item in found
        ]
        print_table(("NAME", "TYPE", "VERSION", "TAGS", "UPDATED", "EXPIRES", "DESCRIPTION"), rows)
    else:
        echo(none, err=True)


@secret.command()
@name_argument
@_data_options
@_metadata_options
@_public_options
@_short_option
@click.option("--clear", multiple=True, type=click.Choice(_CLEARABLE), help="Remove this. Repeatable.")
@expected_option
@json_option
def update(
    name: str,
    fields: tuple[str, ...],
    from_json: str | None,
    clear: tuple[str, ...],
    expected_version: int | None,
    public_fields: tuple[str, ...],
    mask_all: bool,
    allow_short: bool,
    as_json: bool,
    **metadata: Any,
) -> None:
    """Make a new version of NAME.

    --field changes the fields that it names and keeps the others; --from-json replaces all fields.
    """
    from sealflow.service.open_service import open_existing

    changes = {key: value for key, value in metadata.items() if value}
    if public_fields or mask_all:
        changes["public_fields"] = _public(public_fields, mask_all)
    for item in clear:
        key = item.replace("-", "_")
        if key in changes:
            raise click.UsageError(f"--clear {item} and a new value for it exclude each other")
        changes[key] = () if key == "tags" else None
    with open_existing() as service:
        if not fields and from_json is None and not changes:
            raise click.UsageError("there is nothing to change: give fields or metadata")
        data = given_fields(fields, from_json, []) if fields or from_json is not None else None
        if data is not None and from_json is None:
            current = service.get_secret(name)
            data = {**current.data, **data}
            # The fields were read before the write: another change in between must not be lost.
            expected_version = current.version if expected_version is None else expected_version
        info = service.update_secret(
            name, data, expected_version=expected_version, allow_short=allow_short, **changes
        )
    _print_done(info, as_json, "updated")


@secret.command()
@name_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@expected_option
@json_option
def delete(name: str, yes: bool, expected_version: int | None, as_json: bool) -> None:
    """Delete NAME. Its versions stay in the store until they are destroyed."""
    from sealflow.service.open_service import open_existing

    with open_existing() as service:
        service.history(name)  # raises if there is no such secret, without decrypting it
        confirm(f"Delete the secret {name}?", yes, "delete")
        service.delete_secret(name, expected_version=expected_version)
    if as_json:
        print_json({"name": name, "deleted": True})
    else:
        echo(f"Deleted {name}.")


def _public(public_fields: tuple[str, ...], mask_all: bool) -> tuple[str, ...] | None:
    """Return the fields that the user names as public; None leaves it to the type."""
    if mask_all and public_fields:
        raise click.UsageError("--public and --mask-all exclude each other")
    return () if mask_all else public_fields or None


def _ensure_store(make_store: bool) -> None:
    """Make a store where there is none, when the user says so; the error that there is none otherwise."""
    from sealflow.cli.store import init
    from sealflow.settings import Settings
    from sealflow.stores.select import existing_backend, no_store

    settings = Settings.load()
    if existing_backend(settings) is not None:
        return
    missing = no_store(settings)
    if not make_store and not (
        sys.stdin.isatty()
        and click.confirm(clean(f"{missing.message}. Make one in {Settings.for_new_store().path}?"), err=True)
    ):
        raise missing
    with contextlib.redirect_stdout(sys.stderr):
        click.get_current_context().invoke(init)


def _print_done(info: SecretInfo, as_json: bool, done: str) -> None:
    if as_json:
        print_json(info.to_dict())
    else:
        echo(
            f"The secret {info.name} was {done}: version {info.version}. Use it as {{{{secrets.{info.name}.FIELD}}}}"
        )


def _print_field(name: str, data: dict[str, Any], field: str, as_json: bool) -> None:
    from sealflow.model.fields import field_of
    from sealflow.model.references import parse

    reference = parse("{{secrets." + name + "." + field + "}}").single
    if reference is None:
        raise click.UsageError("--field is not a valid field path: write a.b.c")
    value = field_of(data, reference)
    if as_json:
        print_json(value, keys=True)
    else:
        echo_exactly(_as_text(value))


def _as_text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
