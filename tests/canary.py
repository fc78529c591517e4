"""The canary: after every test, the values of its secrets are searched in all that the test left behind.

What is known: every confidential value that the test gave to a secret, every master key and passphrase it used, the values of the
servers that the tests share, and those that it got from the ``canary`` fixture, which are random and unlike any other.
What is searched, in thirty encodings: stdout, stderr and DEBUG logs; every file below the test's directory and
its name; the text of every error of ours, and of every error that ``pytest.raises`` saw, with its whole chain; every
execution, as JSON and as ``repr``; what every command printed. One hit fails the test.

The encodings are spelled out here, and not taken from the redactor, so that what it forgets is found.

A test that gives values in files names them: ``@pytest.mark.value_files("pem", …)``; ``*.key`` files hold a master key.
One that shows values on purpose says so: ``@pytest.mark.reveals("why")``.
"""

from __future__ import annotations

import base64
import html
import json
import re
import secrets
import string
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.raises import RaisesExc
from ahocorasick_rs import BytesAhoCorasick

from sealflow.crypto.master_key import MasterKey
from sealflow.errors import SealflowError
from sealflow.service.secret_service import SecretService
from sealflow.workflow.execution import Execution

PUBLIC = {
    "basic_auth": frozenset({"username"}),
    "bearer_token": frozenset({"expires_at"}),
    "oauth": frozenset({"client_id", "token_url", "scopes", "expires_at"}),
}
"""What may be seen of a secret of a type; of other types, only what the test calls public."""

SHORTEST = 6  # shorter values of tests ("vvvv") are no canaries: they stand in too much by chance
MOST_VALUES = 300
LARGEST_FILE = 64 << 20
ALPHABET = string.ascii_letters + string.digits + "+/ ~&<\"'%\\é"

_STASH = pytest.StashKey["Canary"]()


def encodings(value: str) -> Iterator[tuple[str, bytes]]:
    """Yield how a value may be written, by name; at least twelve ways."""
    raw = value.encode("utf-8", "surrogatepass")
    yield "raw", raw
    yield "utf-16", value.encode("utf-16-le", "surrogatepass")
    yield "json", json.dumps(value, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass")
    yield "json-ascii", json.dumps(value)[1:-1].encode()
    yield "json-twice", json.dumps(json.dumps(value))[3:-3].encode()
    yield "repr", repr(value)[1:-1].encode("utf-8", "surrogatepass")
    yield "repr of bytes", repr(raw)[2:-1].encode()
    yield "url", urllib.parse.quote(raw, safe="").encode()
    yield "form", urllib.parse.quote_plus(raw).encode()
    yield "path", urllib.parse.quote(raw).encode()
    yield "html", html.escape(value).encode("utf-8", "surrogatepass")
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw)[(0, 2, 3)[shift] : (shift + len(raw)) * 8 // 6]
        yield f"base64 at {shift}", coded
        yield f"base64url at {shift}", coded.replace(b"+", b"-").replace(b"/", b"_")
    yield "hex with colons", raw.hex(":").encode()
    yield (
        "lower url",
        re.sub(rb"%..", lambda match: match[0].lower(), urllib.parse.quote(raw, safe="").encode()),
    )
    yield "encodeURI", urllib.parse.quote(raw, safe=";,/?:@&=+$-_.!~*'()#").encode()
    yield "Java form", urllib.parse.quote_plus(raw, safe="*-._").replace("~", "%7E").encode()
    yield "slashed JSON", json.dumps(value)[1:-1].replace("/", "\\/").encode()
    go = json.dumps(value, ensure_ascii=False)[1:-1]
    for char in "<>&":
        go = go.replace(char, f"\\u{ord(char):04x}")
    yield "Go JSON", go.encode("utf-8", "surrogatepass")
    yield "XML", html.escape(value).replace("&#x27;", "&apos;").encode("utf-8", "surrogatepass")
    yield (
        "decimal entities",
        html.escape(value)
        .replace("&#x27;", "&#39;")
        .replace("&quot;", "&#34;")
        .encode("utf-8", "surrogatepass"),
    )
    yield "shell", value.replace("'", "'\\''").encode("utf-8", "surrogatepass")
    yield "SQL", value.replace("'", "''").encode("utf-8", "surrogatepass")
    yield "UTF-16 BE", value.encode("utf-16-be", "surrogatepass")
    yield "UTF-16 in base64", base64.b64encode(value.encode("utf-16-le", "surrogatepass")).rstrip(b"=")[:-1]
    yield "mojibake", raw.decode("latin-1").encode()
    yield "url twice", urllib.parse.quote(urllib.parse.quote(raw)).encode()
    yield "base64 twice", base64.b64encode(base64.b64encode(raw)).rstrip(b"=")[:-1]
    if len(value) >= 16:
        eighth = len(value) // 8
        yield "cut short", value[eighth : len(value) - eighth].encode("utf-8", "surrogatepass")
    for line in value.splitlines()[1:-1]:
        if len(line) >= 16:
            yield "line", line.encode("utf-8", "surrogatepass")


def pieces(form: bytes) -> tuple[bytes, ...]:
    """Return a form, or two pieces of a very long one: an automaton of all of it would take gigabytes."""
    middle = len(form) // 2
    return (form,) if len(form) <= 1024 else (form[:256], form[middle : middle + 256])


class Canary:
    """What one test may not show, and what it showed."""

    def __init__(self) -> None:
        self.values: set[str] = {"hunter2-from-vault", "hunter2-from-aws"}  # of the servers that tests share
        self.seen: list[tuple[str, str | bytes]] = []
        self.errors: list[BaseException] = []
        self.executions: list[Execution] = []

    def value(self, length: int = 24) -> str:
        """Make a new random value, known from now on."""
        made = "".join(secrets.choice(ALPHABET) for _ in range(length - 2))
        self.values.add(f"c{made}y")
        return f"c{made}y"

    def learn(self, data: Any) -> None:
        if isinstance(data, str) and len(data) >= SHORTEST:
            self.values.add(data)
        elif isinstance(data, dict | list | tuple):
            for item in data.values() if isinstance(data, dict) else data:
                self.learn(item)

    def saw(self, where: str, what: str | bytes) -> None:
        self.seen.append((where, what))

    def hits(self, folder: Path | None, without: tuple[str, ...] = ()) -> list[str]:
        """Say where a value stands, and how; never the value."""
        values = sorted(self.values)
        some = values[:: len(values) // MOST_VALUES + 1]  # of thousands alike, enough to see a leak
        known = {
            (name, piece)
            for value in some
            for name, form in encodings(value)
            if len(form) >= SHORTEST
            for piece in pieces(form)
        }
        shown = [
            (where, what if isinstance(what, bytes) else what.encode("utf-8", "surrogatepass"))
            for where, what in self.seen
        ]
        shown += [("an execution", (run.to_json() + repr(run)).encode()) for run in self.executions]
        shown += [
            (f"an error ({type(error).__name__})", text) for error in self.errors for text in chain(error)
        ]
        for path in sorted(folder.rglob("*")) if folder is not None and folder.exists() else ():
            shown.append((f"a name in {path.parent}", path.name.encode("utf-8", "surrogateescape")))
            if any(path.match(pattern) for pattern in ("*.key", *without)):
                continue
            if path.is_file() and not path.is_symlink() and path.stat().st_size < LARGEST_FILE:
                shown.append((str(path), path.read_bytes()))
        # Base64 and hex that are folded into lines.
        shown += [(f"{where}, unfolded", re.sub(rb"\r?\n", b"", content)) for where, content in shown]
        names = {form: name for name, form in known}
        if not names:
            return []
        search, found = BytesAhoCorasick(list(names)), list(names.values())
        return [
            f"{where} ({name})"
            for where, content in shown
            for name in dict.fromkeys(found[match[0]] for match in search.find_matches_as_indexes(content))
        ]


def chain(error: BaseException | None, depth: int = 0) -> Iterator[bytes]:
    """Yield an error's text, arguments and attributes, and those of all that it was raised from or during."""
    if error is not None and depth < 10:
        told = [error, error.args, vars(error), *(getattr(error, name, "") for name in ("doc", "object"))]
        yield " ".join(f"{part!r} {part}" for part in told).encode("utf-8", "surrogatepass")
        yield from chain(error.__cause__, depth + 1)
        yield from chain(error.__context__, depth + 1)


@pytest.fixture(autouse=True)
def canary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Canary:
    """Watch the places through which a test's values come in, and those where they could come out."""
    known = request.node.stash[_STASH] = Canary()

    def after(owner: type, name: str, then: Any, *, before: bool = False) -> None:
        original = getattr(owner, name)

        def watched(self: Any, *given: Any, **named: Any) -> Any:
            if before:
                then(self, *given, **named)
            result = original(self, *given, **named)
            if not before:
                then(self, *given, **named)
            return result

        monkeypatch.setattr(owner, name, watched)

    public: dict[str, frozenset[str]] = {}

    def given(
        _: SecretService,
        name: Any,
        *positional: Any,
        data: Any = None,
        public_fields: Any = None,
        **named: Any,
    ) -> None:
        for item in (named.get("type"), *positional):
            if isinstance(item, str) and isinstance(name, str):
                public[name] = PUBLIC.get(item, frozenset())
        if isinstance(public_fields, list | tuple) and isinstance(name, str):
            public[name] = frozenset(map(str, public_fields))
        for item in (data, *positional):
            if isinstance(item, dict):
                hidden = public.get(name, frozenset()) if isinstance(name, str) else ()
                known.learn({key: value for key, value in item.items() if key not in hidden})

    def raised(_: Any, kind: Any, error: BaseException | None, *__: Any) -> None:
        if isinstance(error, Exception):
            known.errors.append(error)

    after(SecretService, "create_secret", given, before=True)
    after(SecretService, "update_secret", given, before=True)
    after(MasterKey, "__init__", lambda self, *_, **__: known.learn(self.to_text()))
    after(SealflowError, "__init__", lambda self, *_, **__: known.errors.append(self))
    after(RaisesExc, "__exit__", raised, before=True)
    after(Execution, "__init__", lambda self, *_, **__: known.executions.append(self))
    return known


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    known = item.stash.get(_STASH, None)
    if known is None or call.when != "call" or item.get_closest_marker("reveals") is not None:
        return report
    for title, text in report.sections:
        known.saw(title, text)
    marked = item.get_closest_marker("value_files")
    hits = known.hits(item.funcargs.get("tmp_path"), marked.args if marked is not None else ())
    if hits and report.passed:
        report.outcome = "failed"
        report.longrepr = f"CANARY: a secret's value stands in: {', '.join(hits[:10])}"
    return report


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "reveals(why): the test shows values on purpose, so the canary is off")
    config.addinivalue_line(
        "markers", "value_files(*names): files that hold values, because the test gives them so"
    )
