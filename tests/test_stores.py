from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import sealflow
from sealflow import (
    DamagedRecordError,
    SettingsError,
    StoreFallbackWarning,
    StoreFullError,
    StoreUnavailableError,
    open_service,
)
from sealflow.service.access import access_of
from sealflow.stores.file import FileStore
from sealflow.stores.sqlite import SqliteStore
from sealflow.testing import StoreContract


class TestSqliteStore(StoreContract):
    backend = SqliteStore


class TestFileStore(StoreContract):
    backend = FileStore


def run_python(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    return out


def record_path(store: Path, name: str) -> Path:
    return store / "records" / f"{hashlib.sha256(name.encode()).hexdigest()[:40]}.json"


def modes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): f"{path.stat().st_mode & 0o777:o}"
        for path in sorted(folder.rglob("*"))
    }


WRITER = """
    import sys, sealflow
    path, backend, key, worker, count = sys.argv[1:]
    with sealflow.open_service(path, backend, key) as service:
        for number in range(int(count)):
            service.create_secret(f"w{worker}-{number}", "api_key", {"value": f"value-{worker}-{number}"})
            while True:
                shared = service.get_secret("shared")
                try:
                    service.update_secret("shared", {"n": shared.data["n"] + 1}, expected_version=shared.version)
                    break
                except sealflow.VersionConflictError:
                    pass
"""


@pytest.mark.slow
def test_ten_processes_writing_at_once_lose_nothing(tmp_path, key, backend):
    path = tmp_path / "s"
    with open_service(path, backend, key) as service:
        service.create_secret("shared", "custom", {"n": 0})
    processes = [
        run_python(WRITER, str(path), backend, key.to_text(), str(worker), "4") for worker in range(10)
    ]
    for process in processes:
        finish(process)
    with open_service(path, backend, key) as service:
        assert service.get_secret("shared").data == {"n": 40}
        assert len(service.list_secrets()) == 41
        for worker in range(10):
            for number in range(4):
                assert service.get_secret(f"w{worker}-{number}").data == {"value": f"value-{worker}-{number}"}


@pytest.mark.slow
def test_ten_processes_make_one_store(tmp_path, key, backend):
    code = """
        import sys, sealflow
        path, backend, key, worker = sys.argv[1:]
        with sealflow.open_service(path, backend, key) as service:
            service.create_secret(f"w{worker}", "api_key", {"value": "vvvv"})
            print(service.store_id)
    """
    processes = [
        run_python(code, str(tmp_path / "s"), backend, key.to_text(), str(worker)) for worker in range(10)
    ]
    assert len({finish(process) for process in processes}) == 1
    with open_service(tmp_path / "s", backend, key) as service:
        assert len(service.list_secrets()) == 10


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_a_whole_store(tmp_path, key, backend):
    path = tmp_path / "s"
    code = """
        import sys, sealflow
        path, backend, key = sys.argv[1:]
        with sealflow.open_service(path, backend, key) as service:
            number = 0
            while True:
                service.update_secret("a", {"value": f"value-{number}"}) if number else service.get_secret("a")
                print(number, flush=True)
                number += 1
    """
    with open_service(path, backend, key) as service:
        service.create_secret("a", "api_key", {"value": "value-0"})
    for wanted in (1, 3, 7, 12):
        process = run_python(code, str(path), backend, key.to_text())
        acknowledged = 0
        for line in process.stdout:  # to the end: what the loop has read ahead is lost to communicate()
            acknowledged = int(line)
            if acknowledged == wanted:
                process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()
        with open_service(path, backend, key) as service:
            found = int(service.get_secret("a").data["value"].removeprefix("value-"))
            assert found in (acknowledged, acknowledged + 1)
            service.update_secret("a", {"value": "value-0"})


@pytest.mark.slow
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_everything_is_private_under_any_umask_at_every_moment(tmp_path, key, backend, umask):
    path = tmp_path / "deep" / "er" / "s"
    seen: dict[str, set[str]] = {}

    def look(*_: object) -> None:
        for name, mode in modes(tmp_path / "deep").items():
            seen.setdefault(name, set()).add(mode)

    old = os.umask(umask)
    sys.setprofile(look)
    try:
        with open_service(path, backend, key) as service:
            service.create_secret("a", "api_key", {"value": "vvvv"})
            service.update_secret("a", {"value": "wwww"})
    finally:
        sys.setprofile(None)
        os.umask(old)
    directories = {name for name in seen if (tmp_path / "deep" / name).is_dir()}
    assert directories
    strict = {mode for name in seen for mode in seen[name] if name not in directories}
    assert strict <= {"600", "0"}  # 0: made under umask 777, and not given its mode yet
    assert {mode for name in directories for mode in seen[name]} <= {"700", "0"}
    assert {mode for name, mode in modes(tmp_path / "deep").items() if name not in directories} == {"600"}


def test_loose_files_are_tightened_when_the_store_is_opened(tmp_path, key, backend):
    path = tmp_path / "s"
    with open_service(path, backend, key) as service:
        service.create_secret("a", "api_key", {"value": "vvvv"})
    for item in path.rglob("*"):
        item.chmod(0o755 if item.is_dir() else 0o644)
    path.chmod(0o755)
    with open_service(path, backend, key) as service:
        service.update_secret("a", {"value": "wwww"})
        assert path.stat().st_mode & 0o777 == 0o700
        data = [
            item for item in path.rglob("*") if item.suffix in (".db", ".json") and item.name != "store.json"
        ]
        assert {item.stat().st_mode & 0o777 for item in data} == {0o600}


def test_an_open_directory_with_other_files_is_refused_and_left_alone(tmp_path, key):
    folder = tmp_path / "project"
    folder.mkdir(mode=0o755)
    (folder / "README").write_text("hello")
    with pytest.raises(StoreUnavailableError, match="chmod 700"):
        open_service(folder, None, key)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert [item.name for item in folder.iterdir()] == ["README"]


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path, key):
    (tmp_path / "s").write_text("")
    with pytest.raises(StoreUnavailableError, match="not a directory"):
        open_service(tmp_path / "s", None, key)


def test_a_store_refuses_use_after_a_fork(tmp_path, key):
    code = """
        import os, sys, sealflow
        with sealflow.open_service(sys.argv[1], "sqlite", sys.argv[2]) as service:
            service.create_secret("a", "api_key", {"value": "vvvv"})
            child = os.fork()
            if child == 0:
                try:
                    service.get_secret("a")
                except sealflow.StoreUnavailableError as error:
                    os._exit(7 if "forked" in str(error) else 8)
                os._exit(9)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            print(service.get_secret("a").data["value"])
    """
    assert finish(run_python(code, str(tmp_path / "s"), key.to_text())).strip() == "vvvv"


def test_a_newer_schema_is_refused_with_advice(tmp_path, key, backend):
    with open_service(tmp_path / "s", backend, key):
        pass
    if backend == "sqlite":
        connection = sqlite3.connect(tmp_path / "s" / "secrets.db")
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        path = tmp_path / "s" / "keyring.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(StoreUnavailableError, match="99.*Update sealflow"):
        open_service(tmp_path / "s", backend, key)


@pytest.mark.parametrize("content", [b"", b"garbage", b"SQLite format 3\0" + b"\0" * 5000, b"\xff" * 100_000])
def test_a_damaged_database_is_an_error_and_no_second_store(tmp_path, key, content):
    path = tmp_path / "s"
    with open_service(path, None, key):
        pass
    (path / "secrets.db").write_bytes(content)
    with pytest.raises((DamagedRecordError, StoreUnavailableError)):
        open_service(path, None, key)
    assert not (path / "keyring.json").exists()
    assert (path / "secrets.db").read_bytes() == content


def test_a_vanished_database_is_an_error_and_no_second_store(tmp_path, key):
    path = tmp_path / "s"
    with open_service(path, None, key):
        pass
    (path / "secrets.db").unlink()
    with pytest.raises(StoreUnavailableError):
        open_service(path, None, key)
    assert sorted(item.name for item in path.iterdir()) == [
        "audit.log",
        "audit.log.head",
        "audit.log.lock",
        "store.json",
        "store.lock",
    ]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"format": 1}', b"\xff", b'{"format": "x"}', b"[" * 100_000]
)
def test_a_damaged_document_is_reported_and_never_skipped(tmp_path, key, damage):
    path = tmp_path / "s"
    with open_service(path, "file", key) as service:
        service.create_secret("a", "api_key", {"value": "vvvv"})
        service.create_secret("b", "api_key", {"value": "vvvv"})
        record = record_path(path, "a")
        record.write_bytes(damage)
        for attempt in (
            lambda: service.get_secret("a"),
            service.list_secrets,
            lambda: service.get_secret("nope"),
        ):
            with pytest.raises(DamagedRecordError, match=record.name):
                attempt()
        assert service.get_secret("b").data == {"value": "vvvv"}
    for name in ("keyring.json", "store.json"):
        kept = (path / name).read_bytes()
        (path / name).write_bytes(damage)
        with pytest.raises(DamagedRecordError, match=name):
            open_service(path, "file", key)
        (path / name).write_bytes(kept)


def test_a_document_under_another_name_is_reported(tmp_path, key):
    with open_service(tmp_path / "s", "file", key) as service:
        service.create_secret("a", "api_key", {"value": "vvvv"})
        shutil.copy(record_path(tmp_path / "s", "a"), record_path(tmp_path / "s", "b"))
        with pytest.raises(DamagedRecordError):
            service.get_secret("b")


def test_a_stray_temporary_file_is_no_secret(tmp_path, key):
    with open_service(tmp_path / "s", "file", key) as service:
        service.create_secret("a", "api_key", {"value": "vvvv"})
        (tmp_path / "s" / "records" / ".tmp-1-1-x.json").write_text("half")
        assert [info.name for info in service.list_secrets()] == ["a"]


def test_a_full_disk_is_said_and_nothing_changes(tmp_path, key, backend):
    code = """
        import resource, signal, sys, sealflow
        path, backend, key = sys.argv[1:]
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with sealflow.open_service(path, backend, key) as service:
            service.create_secret("a", "api_key", {"value": "vvvv"})
            resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, resource.RLIM_INFINITY))
            try:
                service.update_secret("a", {"value": "w" * 300_000})
            except sealflow.StoreError as error:
                print(type(error).__name__)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            print(service.get_secret("a").data["value"])
            service.update_secret("a", {"value": "xxxx"})
            print(service.get_secret("a").data["value"])
    """
    said, kept, after = finish(run_python(code, str(tmp_path / "s"), backend, key.to_text())).split()
    assert (
        said in ("StoreFullError", "StoreUnavailableError")
        if backend == "sqlite"
        else said == "StoreFullError"
    )
    assert (kept, after) == ("vvvv", "xxxx")


def test_sqlite_says_when_it_is_full(tmp_path, key):
    with open_service(tmp_path / "s", "sqlite", key) as service:
        service.create_secret("a", "api_key", {"value": "vvvv"})
        access_of(service).registry._writer.connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(StoreFullError, match="nothing was changed"):
            service.update_secret("a", {"value": "w" * 300_000})
        assert service.get_secret("a").data == {"value": "vvvv"}


def read_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write anywhere, so a read-only directory is told to those who ask."""
    real = os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda item, mode: not (mode & os.W_OK and str(item).startswith(str(path))) and real(item, mode),
    )


def test_a_read_only_store_is_read_and_not_written(tmp_path, key, backend, monkeypatch):
    with open_service(tmp_path / "s", backend, key) as service:
        service.create_secret("a", "api_key", {"value": "vvvv"})
    read_only(tmp_path / "s", monkeypatch)
    with open_service(tmp_path / "s", backend, key) as service:
        with pytest.warns(sealflow.AuditWarning, match="read-only"):
            assert service.get_secret("a").data == {"value": "vvvv"}
        assert access_of(service).registry.status().read_only
        with pytest.raises(StoreUnavailableError, match="read-only"):
            service.update_secret("a", {"value": "wwww"})


def test_a_read_only_store_with_writes_in_its_log_is_refused(tmp_path, key, monkeypatch):
    with open_service(tmp_path / "s", "sqlite", key):
        pass
    (tmp_path / "s" / "secrets.db-wal").write_bytes(b"x")
    read_only(tmp_path / "s", monkeypatch)
    with pytest.raises(StoreUnavailableError, match="writable"):
        open_service(tmp_path / "s", "sqlite", key)


def test_the_log_is_empty_after_every_write_and_old_records_are_overwritten(tmp_path, key):
    path = tmp_path / "s"
    with open_service(path, "sqlite", key) as service:
        service.create_secret("a", "api_key", {"value": "vvvv"})
        old = access_of(service).registry.read("a").record
        for number in range(11):
            service.update_secret("a", {"value": f"v-{number}"})
            assert (path / "secrets.db-wal").stat().st_size == 0
        assert access_of(service).registry.read("a", 1) is None
    assert old not in (path / "secrets.db").read_bytes()


NO_SQLITE = "import sys; sys.modules['sqlite3'] = None; sys.modules['_sqlite3'] = None\n"


def test_without_sqlite_the_file_store_is_made_with_a_warning(tmp_path, key):
    code = NO_SQLITE + textwrap.dedent("""
        import warnings, sealflow
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with sealflow.open_service(sys.argv[1], None, sys.argv[2]) as service:
                service.create_secret("a", "api_key", {"value": "vvvv"})
                print(service.backend, [str(item.category.__name__) for item in caught])
    """)
    assert (
        finish(run_python(code, str(tmp_path / "s"), key.to_text())).strip()
        == "file ['StoreFallbackWarning']"
    )
    with open_service(
        tmp_path / "s", None, key
    ) as service:  # SQLite is there again, and the store stays where it is
        assert service.backend == "file"
        assert service.get_secret("a").data == {"value": "vvvv"}
    assert not (tmp_path / "s" / "secrets.db").exists()


def test_without_sqlite_an_sqlite_store_is_an_error_and_no_second_store_is_made(tmp_path, key):
    with open_service(tmp_path / "s", None, key):
        pass
    code = NO_SQLITE + textwrap.dedent("""
        import sealflow
        try:
            sealflow.open_service(sys.argv[1], None, sys.argv[2])
        except sealflow.StoreUnavailableError as error:
            print("refused")
    """)
    assert finish(run_python(code, str(tmp_path / "s"), key.to_text())).strip() == "refused"
    assert not (tmp_path / "s" / "keyring.json").exists()


def test_a_backend_asked_for_by_name_is_never_replaced(tmp_path, key, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite3, "connect", broken)
    with pytest.raises(StoreUnavailableError, match="disk I/O"):
        open_service(tmp_path / "s", "sqlite", key)
    with (
        pytest.warns(StoreFallbackWarning, match="disk I/O"),
        open_service(tmp_path / "s", None, key) as service,
    ):
        assert service.backend == "file"
    assert not list((tmp_path / "s").glob("*.db*"))


def test_another_backend_than_the_one_that_is_there_is_refused(tmp_path, key, backend):
    with open_service(tmp_path / "s", backend, key):
        pass
    other = {"sqlite": "file", "file": "sqlite"}[backend]
    with pytest.raises(SettingsError, match=f"holds a {backend} store"):
        open_service(tmp_path / "s", other, key)


@pytest.mark.parametrize("name", ["sqlit", "", "mongodb", "postgresql"])
def test_an_unknown_backend_is_refused(tmp_path, key, name):
    if name:
        with pytest.raises(SettingsError, match="backend"):
            open_service(tmp_path / "s", name, key)
    assert not (tmp_path / "s").exists()


def test_a_crash_between_store_and_marker_is_mended(tmp_path, key, backend):
    with open_service(tmp_path / "s", backend, key) as service:
        store_id = service.store_id
    (tmp_path / "s" / "store.json").unlink()
    with open_service(tmp_path / "s", None, key) as service:
        assert (service.backend, service.store_id) == (backend, store_id)
    assert json.loads((tmp_path / "s" / "store.json").read_text())["store_id"] == store_id


def test_a_crash_while_the_store_was_made_leaves_no_store(tmp_path, key):
    path = tmp_path / "s"
    path.mkdir(mode=0o700)
    (path / ".tmp-secrets.db").write_bytes(b"half")
    with open_service(path, None, key) as service:
        service.create_secret("a", "api_key", {"value": "vvvv"})
    assert not (path / ".tmp-secrets.db").exists()


def test_a_path_with_special_characters_works(tmp_path, key, backend):
    path = tmp_path / "a b?c#d%20é"
    with open_service(path, backend, key) as service:
        service.create_secret("a", "api_key", {"value": "vvvv"})
    with open_service(path, backend, key) as service:
        assert service.get_secret("a").data == {"value": "vvvv"}
    assert [item.name for item in tmp_path.iterdir() if item.name.startswith("a b")] == [path.name]


def test_a_migration_upgrades_an_older_schema(tmp_path, key, monkeypatch):
    from sealflow.stores import schema, sqlite

    with open_service(tmp_path / "s", "sqlite", key) as service:
        service.create_secret("a", "api_key", {"value": "vvvv"})
    monkeypatch.setattr(
        schema,
        "MIGRATIONS",
        (*schema.MIGRATIONS, "CREATE TABLE later (x TEXT); CREATE INDEX later_x ON later (x)"),
    )
    newer = schema.SCHEMA_VERSION + 1
    for module in (sqlite, schema):
        monkeypatch.setattr(module, "SCHEMA_VERSION", newer)
    with open_service(tmp_path / "s", "sqlite", key) as service:
        assert access_of(service).registry.status().schema_version == newer
        assert access_of(service).registry._rows("SELECT count(*) FROM later")[0][0] == 0
        assert service.get_secret("a").data == {"value": "vvvv"}


def test_a_store_opened_twice_in_a_process_keeps_its_locks(tmp_path, key):
    """Closing any descriptor of a file drops a process's POSIX locks on it: nothing but SQLite may open the database.

    With the locks lost, another process takes itself for the last one, and removes the log that is still in use here.
    """
    code = """
        import sys, sealflow
        with sealflow.open_service(sys.argv[1], master_key=sys.stdin.readline().strip()) as service:
            service.update_secret("a", {"value": "changed"})
    """
    with open_service(tmp_path / "s", "sqlite", key) as first:
        first.create_secret("a", "api_key", {"value": "original"})
        assert first.get_secret("a").data == {"value": "original"}
        with open_service(tmp_path / "s", "sqlite", key) as second:
            assert second.get_secret("a").data == {"value": "original"}
        log = (tmp_path / "s" / "secrets.db-wal").stat().st_ino
        other = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "s")],
            stdin=subprocess.PIPE,
            text=True,
        )
        other.communicate(key.to_text() + "\n", timeout=60)
        assert other.returncode == 0
        assert (tmp_path / "s" / "secrets.db-wal").stat().st_ino == log
        assert first.get_secret("a").data == {"value": "changed"}
