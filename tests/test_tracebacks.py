"""What prints a traceback with its variables (rich, Sentry) finds no value in the frames of sealflow."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from rich.console import Console
from rich.traceback import Traceback

from sealflow import (
    MasterKey,
    Passphrase,
    SealflowError,
    SecretValidationError,
    open_service,
    register_secret_type,
)
from sealflow.errors import without_locals
from sealflow.model.types import validated
from sealflow.operations.bundle import export_bundle, import_bundle
from sealflow.service.access import access_of

VALUE = "planted-value-7c1f"


class Caller:
    """Holds the data as a caller does that a traceback printer cannot look into."""

    __slots__ = ("data",)

    def __init__(self, **data: Any) -> None:
        self.data = data

    def __repr__(self) -> str:
        return "Caller(***)"


def without_test_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames of tests, which hold the values that they planted."""
    if trace is None:
        return None
    below = without_test_frames(trace.tb_next)
    if Path(trace.tb_frame.f_code.co_filename).is_relative_to(Path(__file__).parent):
        return below
    return TracebackType(below, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)


def frames(error: BaseException | None, seen: set[int]) -> list[Any]:
    found: list[Any] = []
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        trace: TracebackType | None = error.__traceback__
        while trace is not None:
            found.append((trace.tb_frame.f_code.co_name, dict(trace.tb_frame.f_locals)))
            trace = trace.tb_next
        found += frames(error.__cause__, seen)
        error = error.__context__
    return found


def printed(value: Any, depth: int = 0) -> str:
    """Return the reprs of a value and of all that it is made of, as thorough printers do."""
    parts = [repr(value)]
    if depth < 5:
        if isinstance(value, dict):
            parts += [printed(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, list | tuple | set):
            parts += [printed(item, depth + 1) for item in value]
    return "\n".join(parts)


def check(error: BaseException) -> None:
    error.__traceback__ = without_test_frames(error.__traceback__)
    assert error.__traceback__ is not None
    for name, variables in frames(error, set()):
        assert VALUE not in printed(variables), f"a variable of {name}"
    out = io.StringIO()
    trace = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
    Console(file=out, width=200).print(trace)
    assert VALUE not in out.getvalue()
    assert (
        "secret_service.py" in out.getvalue() or "types.py" in out.getvalue() or "bundle.py" in out.getvalue()
    )


BAD = {
    "an unknown field": ("api_key", {"values": VALUE}, {}),
    "an extra field": ("api_key", {"value": VALUE, "more": VALUE}, {}),
    "a wrong type": ("api_key", {"value": [VALUE]}, {}),
    "an unknown type": ("api_kye", {"value": VALUE}, {}),
    "a bad field name": ("custom", {"a b": VALUE}, {}),
    "a value that JSON cannot hold": ("custom", {"a": {"b": [VALUE, object()]}}, {}),
    "a value that is too deep": (
        "custom",
        {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[VALUE]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]},
        {},
    ),
    "too much data": ("custom", {"a": VALUE * 100_000}, {}),
    "a short value": ("custom", {"a": VALUE, "b": "x"}, {"allow_short": False}),
    "a bad host": ("api_key", {"value": VALUE}, {"allowed_hosts": ["https://x/"]}),
    "a bad time": ("api_key", {"value": VALUE}, {"expires_at": "tomorrow"}),
    "bad tags": ("api_key", {"value": VALUE}, {"tags": "x"}),
    "data that is a string": ("api_key", VALUE, {}),
}


@pytest.mark.parametrize(("type_name", "data", "metadata"), BAD.values(), ids=BAD)
def test_a_secret_that_cannot_be_created_shows_no_value(service, type_name, data, metadata):
    caller = Caller(data=data)
    with pytest.raises(SealflowError) as caught:
        service.create_secret("a", type_name, caller.data["data"], **metadata)
    check(caught.value)


OF_THE_DATA = {name: case for name, case in BAD.items() if set(case[2]) <= {"allow_short"}}


@pytest.mark.parametrize(("type_name", "data", "metadata"), OF_THE_DATA.values(), ids=OF_THE_DATA)
def test_validation_by_itself_shows_no_value(type_name, data, metadata):
    caller = Caller(data=data)
    with pytest.raises(SealflowError) as caught:
        validated(type_name, caller.data["data"], **metadata)
    check(caught.value)


def test_a_bad_name_shows_no_value(service):
    caller = Caller(value=VALUE)
    with pytest.raises(SealflowError) as caught:
        service.create_secret("a b", "api_key", caller.data)
    check(caught.value)


def test_a_name_in_use_shows_no_value(service):
    service.create_secret("a", "api_key", {"value": "12345678"})
    caller = Caller(value=VALUE)
    with pytest.raises(SealflowError) as caught:
        service.create_secret("a", "api_key", caller.data)
    check(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"expected_version": 7},
        {"allowed_hosts": ["https://x/"]},
        {"description": 3},
        {"tags": [""]},
        {"expires_at": "tomorrow"},
    ],
    ids=str,
)
def test_an_update_that_fails_shows_neither_the_old_value_nor_the_new(service, change):
    service.create_secret("a", "api_key", {"value": VALUE})
    caller = Caller(value=VALUE + "-new")
    with pytest.raises(SealflowError) as caught:
        service.update_secret("a", caller.data, **change)
    check(caught.value)


def test_an_update_with_an_unknown_field_shows_no_value(service):
    service.create_secret("a", "api_key", {"value": VALUE})
    caller = Caller(values=VALUE)
    with pytest.raises(SealflowError) as caught:
        service.update_secret("a", caller.data)
    check(caught.value)


@pytest.mark.parametrize("work", ["create", "update", "rollback"])
def test_a_store_that_is_full_shows_no_value(service, work, monkeypatch):
    service.create_secret("a", "api_key", {"value": VALUE})
    registry = access_of(service).registry
    save = type(registry).transaction

    class Full(Exception):
        pass

    def transaction(self):
        inner = save(self)

        class Wrapped:
            def __enter__(self):
                self.real = inner.__enter__()
                return self

            def __exit__(self, *details):
                return inner.__exit__(*details)

            def load(self, name):
                return self.real.load(name)

            def save(self, secret):
                raise Full

        return Wrapped()

    monkeypatch.setattr(type(registry), "transaction", transaction)
    caller = Caller(value=VALUE)
    with pytest.raises(Full) as caught:
        if work == "create":
            service.create_secret("b", "api_key", caller.data)
        elif work == "update":
            service.update_secret("a", caller.data)
        else:
            service.rollback("a", 1)
    check(caught.value)


def test_a_version_that_is_not_kept_shows_no_value(service):
    service.create_secret("a", "api_key", {"value": VALUE})
    with pytest.raises(SealflowError) as caught:
        service.get_secret("a", 9)
    check(caught.value)


def test_a_bundle_that_does_not_fit_shows_no_value(service, tmp_path):
    service.create_secret("a", "api_key", {"value": VALUE})
    passphrase = Passphrase(b"five random words for it", "a test")
    export_bundle(service, tmp_path / "bundle", passphrase)
    with pytest.raises(SealflowError) as caught:
        import_bundle(service, tmp_path / "bundle", passphrase)
    check(caught.value)


def test_a_type_whose_validator_fails_shows_no_value(service):
    from pydantic import field_validator

    from sealflow import SecretFields

    class Fussy(SecretFields):
        token: str

        @field_validator("token")
        @classmethod
        def look(cls, value: str) -> str:
            raise RuntimeError(f"not what was expected: {value}")

    register_secret_type("fussy_for_tracebacks", Fussy)
    caller = Caller(token=VALUE)
    with pytest.raises(SecretValidationError, match=r"cannot check the data \(RuntimeError\)") as caught:
        service.create_secret("a", "fussy_for_tracebacks", caller.data)
    check(caught.value)


def test_a_wrong_master_key_is_in_no_frame(service):
    key = Caller(text=MasterKey.generate().to_text())
    with pytest.raises(SealflowError) as caught:
        open_service(access_of(service).registry.status().path, None, key.data["text"])
    caught.value.__traceback__ = without_test_frames(caught.value.__traceback__)
    for name, variables in frames(caught.value, set()):
        assert key.data["text"] not in printed(variables), f"a variable of {name}"


def test_the_error_that_a_caller_is_handling_keeps_its_variables():
    @without_locals
    def fails(value: str) -> None:
        raise ZeroDivisionError

    def outer() -> None:
        mine = "mine"
        raise KeyError(mine)

    try:
        outer()
    except KeyError as error:
        with pytest.raises(ZeroDivisionError) as caught:
            fails(VALUE)
        assert error.__traceback__.tb_next.tb_frame.f_locals["mine"] == "mine"
        assert caught.value.__traceback__.tb_next.tb_frame.f_code.co_name == "call"
    assert sys.exception() is None
