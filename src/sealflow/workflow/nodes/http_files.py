"""Files in the body of an HTTP request: alone, or as parts of multipart/form-data (RFC 7578)."""

from __future__ import annotations

import mimetypes
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from sealflow.errors import NodeConfigError
from sealflow.model.places import key_path
from sealflow.workflow.node_config import NodeConfig
from sealflow.workflow.nodes.http_body import scalar_text

MAX_FILE_BYTES = 50 << 20
_OCTETS = "application/octet-stream"
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:\s*;[^\r\n\0]*)?")


class FilePart(NodeConfig):
    """``file``: a path below the workflow file's folder. Without ``content_type``, the file's name decides."""

    file: str = Field(min_length=1)
    content_type: str | None = Field(default=None, pattern=_MEDIA_TYPE)
    filename: str | None = None


def file_body(file: str, folder: Path | None) -> tuple[bytes, str]:
    """Return a file's content and its type by its name."""
    return _content(file, folder, "body_file"), mimetypes.guess_type(file)[0] or _OCTETS


def multipart_body(fields: Any, files: Mapping[str, FilePart], folder: Path | None) -> tuple[bytes, str]:
    """Return fields and files as multipart/form-data, and its content type with the boundary."""
    if not isinstance(fields, Mapping | None):
        raise NodeConfigError(
            "a body of type multipart must be a mapping", hint="Give {field: value}", path="body"
        )
    boundary = secrets.token_hex(16)
    body = bytearray()
    for head, content in (*_field_parts(fields or {}), *_file_parts(files, folder)):
        body += f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode(
            "utf-8", "surrogatepass"
        )
        body += content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return bytes(body), f"multipart/form-data; boundary={boundary}"


def _field_parts(fields: Mapping[str, Any]) -> Iterable[tuple[str, bytes]]:
    for name, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bytes):
                yield f"name={_quoted(name)}; filename={_quoted(name)}\r\nContent-Type: {_OCTETS}", item
            elif item is not None:
                text = scalar_text(item, key_path("body", str(name)))
                yield f"name={_quoted(name)}", text.encode("utf-8", "surrogatepass")


def _file_parts(files: Mapping[str, FilePart], folder: Path | None) -> Iterable[tuple[str, bytes]]:
    for name, part in files.items():
        content = _content(part.file, folder, key_path("files", name))
        kind = part.content_type or mimetypes.guess_type(part.file)[0] or _OCTETS
        filename = part.filename or Path(part.file).name
        yield f"name={_quoted(name)}; filename={_quoted(filename)}\r\nContent-Type: {kind}", content


def _quoted(name: object) -> str:
    """Quote a name as browsers do (WHATWG, multipart/form-data), so that it cannot end its line."""
    escaped = str(name).replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").replace("\0", "%00")
    return f'"{escaped}"'


def _content(file: str, folder: Path | None, path: str) -> bytes:
    """Return the bytes of a file below ``folder``, with all links followed before that is checked."""
    if folder is None:
        raise NodeConfigError(
            "a file needs a workflow file to be relative to", hint="Load the workflow from a file", path=path
        )
    problem = "cannot be read"
    try:
        found = (folder / file).resolve()
        if not found.is_relative_to(folder):
            problem = "is outside the folder of the workflow file"
        elif not found.is_file():
            problem = "is not a file"
        else:
            with found.open("rb") as opened:
                content = opened.read(MAX_FILE_BYTES + 1)
            if len(content) <= MAX_FILE_BYTES:
                return content
            problem = f"is larger than {MAX_FILE_BYTES >> 20} MiB"
    except (OSError, ValueError, RuntimeError):
        pass
    raise NodeConfigError(
        f"the file {problem}", hint="Give a path below the folder of the workflow file", path=path
    )
