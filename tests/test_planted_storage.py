"""A storage directory that somebody else filled: nothing outside it changes, and every command says what is wrong."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import sqlite3
import stat
import struct
import time
from pathlib import Path

import pytest

from sealflow import DamagedRecordError, StoreUnavailableError, TamperedError, open_service
from sealflow.crypto.key_seal import KeySeal
from sealflow.crypto.keyring import new_document
from sealflow.crypto.master_key import MasterKey
from sealflow.model.json_value import canonical
from sealflow.settings import Settings
from sealflow.stores.documents import parse, read_object
from sealflow.stores.folder import Folder
from sealflow.stores.select import open_registry
from sealflow.stores.sqlite_connections import Database

WORKFLOW = "sealflow: 1\nname: w\nnodes:\n  n:\n    type: transform\n    config: {expression: '`\"{{secrets.a.value}}\"`'}\n"
COMMANDS = [
    ("secret", "list"),
    ("secret", "get", "a"),
    ("secret", "create", "b", "--type", "api_key", "--from-json", "-"),
    ("store", "status"),
    ("key", "status"),
    ("check", "w.yaml"),
    ("run", "w.yaml"),
    ("audit",),
    ("audit", "--verify"),
    ("doctor",),
    ("backup", "create", "backup"),
    ("store", "migrate", "--to", "file"),
    ("store", "migrate", "--to", "sqlite"),
    ("store", "migrate", "--remove-old", "--yes"),
]


def picture(folder: Path) -> dict[str, object]:
    """What a tree is: modes, owners, times of change, content."""
    found: dict[str, object] = {}
    for item in sorted(folder.rglob("*")):
        status = item.lstat()
        content = item.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[str(item.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, content)
    return found


class World:
    """A cloned folder with a store in it, and what lies outside."""

    def __init__(self, clone: Path, outside: Path, backend: str) -> None:
        self.clone, self.outside, self.backend = clone, outside, backend
        self.store = clone / ".workflow" / "secrets"


@pytest.fixture
def world(tmp_path: Path, key: MasterKey, backend: str) -> World:
    clone, outside = tmp_path / "clone", tmp_path / "outside"
    clone.mkdir(mode=0o700)
    outside.mkdir(mode=0o755)
    (outside / "profile").write_text("alias ls=ls\n")
    (outside / "profile").chmod(0o644)
    (outside / "documents").mkdir(mode=0o755)
    (outside / "documents" / "letter").write_text("dear\n")
    (clone / "w.yaml").write_text(WORKFLOW)
    made = World(clone, outside, backend)
    with open_service(made.store, backend, key) as service:
        service.create_secret("a", "api_key", {"value": "the first value"})
    return made


def replaced(path: Path) -> Path:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    return path


def link(name: str, target: str):
    def plant(world: World) -> None:
        replaced(world.store / name).symlink_to(world.outside / target)

    plant.__name__ = f"{name} a link to {target}"
    return plant


def hard_link(name: str):
    def plant(world: World) -> None:
        os.link(world.outside / "profile", replaced(world.store / name))

    plant.__name__ = f"{name} a hard link"
    return plant


def fifo(name: str):
    def plant(world: World) -> None:
        os.mkfifo(replaced(world.store / name))

    plant.__name__ = f"{name} a fifo"
    return plant


def socket_at(name: str):
    def plant(world: World) -> None:
        path = replaced(world.store / name)
        old = Path.cwd()
        os.chdir(path.parent)
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path.name)
        finally:
            os.chdir(old)

    plant.__name__ = f"{name} a socket"
    return plant


def directory_at(name: str):
    def plant(world: World) -> None:
        replaced(world.store / name).mkdir()

    plant.__name__ = f"{name} a directory"
    return plant


def journal(*names: str, seal: str | None = "AAAA", version: int = 2):
    def plant(world: World) -> None:
        document = {
            "format": version,
            "files": dict.fromkeys(
                [name.replace("OUTSIDE", str(world.outside)) for name in names], "planted\n"
            ),
        }
        (world.store / "journal.json").write_text(
            json.dumps(document if seal is None else {**document, "seal": seal})
        )

    plant.__name__ = f"a journal of {' '.join(names)[:40]}, seal {seal}, format {version}"
    return plant


def journal_through_a_link(world: World) -> None:
    (world.store / "sub").symlink_to(world.outside)
    journal("sub/profile")(world)


def old_journal_through_a_link(world: World) -> None:
    (world.store / "sub").symlink_to(world.outside)
    journal("sub/profile", "records/" + "0" * 40 + ".json", version=1, seal=None)(world)


def records_elsewhere_and_a_journal(world: World) -> None:
    replaced(world.store / "records").symlink_to(world.outside / "documents")
    journal("keyring.json", "records/" + "0" * 40 + ".json")(world)


def rollback_journal_that_names_a_file(world: World) -> None:
    """A hot journal of SQLite with a super-journal: SQLite removes that file when it has played the journal back."""
    name = str(world.outside / "profile").encode()
    magic = bytes.fromhex("d9d505f920a163d7")
    header = magic + bytes(4) + os.urandom(4) + (1).to_bytes(4) + (512).to_bytes(4) + (4096).to_bytes(4)
    checksum = sum(name) & 0xFFFFFFFF
    tail = (0x40000000 // 4096 + 1).to_bytes(4) + name + len(name).to_bytes(4) + checksum.to_bytes(4) + magic
    (world.store / "secrets.db-journal").write_bytes(header.ljust(512, b"\0") + tail)


def endless(name: str):
    def plant(world: World) -> None:
        replaced(world.store / name).touch()
        os.truncate(world.store / name, 1 << 40)

    plant.__name__ = f"{name} of a terabyte"
    return plant


def temporary_links(world: World) -> None:
    for name in (".tmp-migrate", ".tmp-secrets.db", ".tmp-secrets.db-wal", "old-file-1", "old-sqlite-2"):
        (world.store / name).symlink_to(world.outside / "documents")


IN_PLACE = ["store.lock", "audit.log", "audit.log.head", "audit.log.lock"]
FILES = {
    "sqlite": [
        *IN_PLACE,
        "store.json",
        "secrets.db",
        "secrets.db-wal",
        "secrets.db-shm",
        "secrets.db-journal",
    ],
    "file": [*IN_PLACE, "store.json", "keyring.json", "journal.json"],
}
TRICKS = {
    backend: [
        *(link(name, "profile") for name in files),
        *(link(name, "nowhere") for name in files),
        *(hard_link(name) for name in files),
        *(fifo(name) for name in files),
        *(socket_at(name) for name in files[:4:2]),
        *(directory_at(name) for name in files[::3]),
        endless("audit.log.head"),
        endless("store.json"),
        temporary_links,
        *(
            [
                rollback_journal_that_names_a_file,
            ]
            if backend == "sqlite"
            else [
                link("records", "documents"),
                endless("keyring.json"),
                endless("journal.json"),
                journal("../../../outside/profile"),
                journal("OUTSIDE/profile"),
                journal("../secrets/../../../outside/profile", version=1, seal=None),
                journal("records/../../../../outside/profile"),
                journal("keyring.json", "records/" + "0" * 40 + ".json"),
                journal("keyring.json", "records/" + "0" * 40 + ".json", version=1, seal=None),
                journal("store.json"),
                journal("audit.log"),
                journal("records/../keyring.json"),
                journal_through_a_link,
                old_journal_through_a_link,
                records_elsewhere_and_a_journal,
            ]
        ),
    ]
    for backend, files in FILES.items()
}


IDS = [
    pytest.param(backend, plant, id=f"{backend}: {plant.__name__}")
    for backend, tricks in TRICKS.items()
    for plant in tricks
]


@pytest.mark.slow
@pytest.mark.parametrize("configured", [False, True], ids=["without the key", "with the key"])
@pytest.mark.parametrize(("backend", "plant"), IDS, indirect=["backend"])
def test_no_command_touches_anything_outside(cli, world, key, plant, configured, monkeypatch):
    plant(world)
    before = picture(world.outside)
    monkeypatch.chdir(world.clone)
    if configured:
        monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", key.to_text())
    for command in COMMANDS:
        begin = time.monotonic()
        done = cli(*command, stdin='{"value": "a value of ours"}')
        assert picture(world.outside) == before, command
        assert time.monotonic() - begin < 20, command
        assert done.code in (0, 1), (command, done.err)
        assert "internal error" not in done.err, (command, done.err)
        if done.code and command[0] not in ("doctor", "check"):
            assert done.err.startswith("sealflow: ") or done.out, (command, done.err)


_MILLION = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100000) SELECT max(x) FROM n"
)


def btree_bomb(database: Path, table: str) -> None:
    """Make the root of a table seven levels of pages, each of 400 branches that all lead to the page below."""

    def interior(child: int) -> bytes:
        cells = [size - 5 * (number + 1) for number in range(400)]
        header = struct.pack(">BHHHBI", 5, 0, 400, cells[-1], 0, child)
        body = bytearray((header + b"".join(struct.pack(">H", cell) for cell in cells)).ljust(size, b"\0"))
        for cell in cells:
            body[cell : cell + 5] = struct.pack(">IB", child, 1)
        return bytes(body)

    with sqlite3.connect(database) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    connection.close()
    content = bytearray(database.read_bytes())
    (size,) = struct.unpack(">H", content[16:18])
    content += content[(root - 1) * size : root * size]
    for _ in range(7):
        content += interior(len(content) // size)
    content[(root - 1) * size : root * size] = interior(len(content) // size)
    content[28:32] = struct.pack(">I", len(content) // size)
    content[92:96] = content[24:28]
    database.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("table", ["store", "secrets", "deks", "keks", "key_wraps"])
def test_a_small_database_with_endless_tables_ends_every_command_at_once(cli, world, key, table, monkeypatch):
    btree_bomb(world.store / "secrets.db", table)
    monkeypatch.chdir(world.clone)
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", key.to_text())
    for command in COMMANDS:
        begin = time.process_time()
        done = cli(*command, stdin='{"value": "a value of ours"}')
        assert time.process_time() - begin < 3, command
        assert done.code in (0, 1), (command, done.err)
        assert "internal error" not in done.err, (command, done.err)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_doctor_reports_an_endless_table(cli, world, key, monkeypatch):
    btree_bomb(world.store / "secrets.db", "store")
    monkeypatch.chdir(world.clone)
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", key.to_text())
    done = cli("doctor")
    assert done.code == 1
    assert "secrets.db" in done.out


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_signal_ends_a_query_as_a_signal_and_not_as_damage(world):
    database = Database(world.store)
    connection = database.connect()
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(KeyboardInterrupt):
            try:
                while True:
                    connection.restart()
                    connection.execute(_MILLION).fetchall()
            except sqlite3.OperationalError as error:
                database.raise_for(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        connection.close()


def fresh(world: World, key: MasterKey) -> dict[str, str]:
    with open_service(world.store, None, key) as service:
        return {info.name: service.get_secret(info.name).data["value"] for info in service.list_secrets()}


PROGRAMS = [
    "CREATE TRIGGER t AFTER INSERT ON secrets BEGIN DELETE FROM versions; END",
    "CREATE TRIGGER t INSTEAD OF INSERT ON v BEGIN DELETE FROM versions; END",
    "CREATE VIEW v AS SELECT * FROM secrets",
    "CREATE INDEX i ON secrets (upper(name))",
    "CREATE INDEX i ON secrets (name) WHERE name LIKE 'a%'",
    "CREATE INDEX i ON tags (tag)",
    "CREATE TABLE more (a, b AS (a || a))",
    "CREATE VIRTUAL TABLE f USING fts5(x)",
    "CREATE TABLE more (x)",
    "ALTER TABLE secrets ADD COLUMN more TEXT",
    "ALTER TABLE secrets ADD COLUMN more TEXT AS (upper(name))",
    "ALTER TABLE secrets RENAME COLUMN description TO described",
    "ANALYZE",
]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_database_with_anything_more_is_refused(world, key, program):
    with sqlite3.connect(world.store / "secrets.db") as connection:
        if "ON v" in program:
            connection.execute("CREATE VIEW v AS SELECT * FROM secrets")
        connection.execute(program)
    connection.close()
    with pytest.raises(TamperedError, match=r"secrets\.db holds"):
        open_service(world.store, None, key)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "removal", ["DROP INDEX tags_by_tag", "DROP INDEX one_active_dek", "DROP TABLE tags"]
)
def test_a_database_that_lacks_a_part_is_refused(world, key, removal):
    with sqlite3.connect(world.store / "secrets.db") as connection:
        connection.execute(removal)
    connection.close()
    with pytest.raises(DamagedRecordError, match="missing"):
        open_service(world.store, None, key)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_trigger_that_comes_while_the_store_is_open_does_not_run(world, key):
    with open_service(world.store, None, key) as service:
        service.update_secret("a", {"value": "the second value"})
        with sqlite3.connect(world.store / "secrets.db") as connection:
            connection.execute("CREATE TRIGGER t AFTER UPDATE ON secrets BEGIN DELETE FROM versions; END")
        connection.close()
        with pytest.raises(TamperedError, match="trigger"):
            service.update_secret("a", {"value": "the third value"})
        assert service.get_secret("a").data == {"value": "the second value"}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE secrets SET name = x'ff'",
        "UPDATE secrets SET description = x'00'",
        "UPDATE versions SET policy = 7",
        "UPDATE versions SET record = 'text'",
        "UPDATE secrets SET created_at = 1.5",
        "UPDATE keks SET params = '{'",
        "UPDATE keks SET kind = 'other'",
        "UPDATE deks SET dek_id = 'zz'",
    ],
)
def test_a_value_of_the_wrong_type_is_damage(world, key, change):
    with sqlite3.connect(world.store / "secrets.db") as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(change)
    connection.close()
    with pytest.raises(DamagedRecordError), open_service(world.store, None, key) as service:
        service.list_secrets()
        service.get_secret("a")


@pytest.mark.parametrize("backend", ["file"], indirect=True)
@pytest.mark.parametrize("number", [-1, 0, 1 << 63, 10**30, 1.5, True, "1", None])
def test_a_version_that_is_not_a_number_of_the_format_is_damage(world, key, number):
    (path,) = (world.store / "records").glob("*.json")
    document = json.loads(path.read_text())
    document["versions"][0]["version"] = number
    path.write_text(json.dumps(document))
    with open_service(world.store, None, key) as service, pytest.raises(DamagedRecordError):
        service.get_secret("a")


def stolen_journal(world: World, key: MasterKey, seal_key: MasterKey) -> None:
    """Write what a writer with ``seal_key`` would have left when it was killed: both files of the store replaced."""
    record = next((world.store / "records").glob("*.json"))
    store_id = json.loads((world.store / "keyring.json").read_text())["store_id"]
    files = {f"records/{record.name}": None, "keyring.json": (world.store / "keyring.json").read_text()}
    with open_registry(Settings.load(world.store)) as registry:
        document = registry.keyring() if seal_key is key else new_document(store_id, seal_key)
    seal = KeySeal(store_id, [seal_key]).make(document, canonical(files).encode())
    content = {"format": 2, "files": files, "seal": base64.b64encode(seal).decode()}
    (world.store / "journal.json").write_text(json.dumps(content))


@pytest.mark.parametrize("backend", ["file"], indirect=True)
def test_a_journal_that_the_key_vouches_for_is_completed(world, key):
    stolen_journal(world, key, key)
    assert fresh(world, key) == {}
    assert not (world.store / "journal.json").exists()


@pytest.mark.parametrize("backend", ["file"], indirect=True)
def test_a_journal_without_the_keys_seal_changes_nothing(world, key):
    stolen_journal(world, key, MasterKey.generate())
    before = picture(world.store)
    with pytest.raises(TamperedError, match=r"journal\.json was not written with the master key"):
        open_service(world.store, None, key)
    assert picture(world.store) == before


@pytest.mark.parametrize("backend", ["file"], indirect=True)
def test_a_journal_that_was_changed_afterwards_changes_nothing(world, key):
    stolen_journal(world, key, key)
    path = world.store / "journal.json"
    document = json.loads(path.read_text())
    document["files"]["records/" + "0" * 40 + ".json"] = "planted"
    path.write_text(json.dumps(document))
    before = picture(world.store)
    with pytest.raises(TamperedError):
        open_service(world.store, None, key)
    assert picture(world.store) == before


@pytest.mark.parametrize("backend", ["file"], indirect=True)
def test_without_the_key_an_interrupted_write_is_not_completed(world, key):
    stolen_journal(world, key, key)
    before = picture(world.store)
    with open_registry(Settings.load(world.store)) as registry:
        assert [record.name for record in registry.find()] == ["a"]
        assert "journal.json" in registry.problems()[0]
        with pytest.raises(StoreUnavailableError, match="needs the master key"), registry.snapshot():
            pass
        with pytest.raises(StoreUnavailableError, match="needs the master key"), registry.transaction():
            pass
    after = picture(world.store)
    after.pop("store.lock", None)
    before.pop("store.lock", None)
    assert after == before


@pytest.mark.parametrize("part", [".workflow", ".workflow/secrets"])
def test_a_default_path_that_is_a_link_is_refused(cli, store_key, own_world, tmp_path, part):
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    (own_world / part).parent.mkdir(exist_ok=True)
    (own_world / part).symlink_to(target)
    done = cli("init")
    assert done.code == 1
    assert "is a link" in done.err
    assert list(target.iterdir()) == []


def test_a_path_that_the_owner_names_may_be_a_link(tmp_path, key, backend):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with open_service(tmp_path / "link", backend, key) as service:
        service.create_secret("a", "api_key", {"value": "vvvv"})
    with open_service(tmp_path / "real", backend, key) as service:
        assert service.get_secret("a").data == {"value": "vvvv"}


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_store_that_others_can_write_to_is_refused(world, key, mode):
    world.store.chmod(mode)
    with pytest.raises(StoreUnavailableError, match="can write to"):
        open_service(world.store, None, key)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_store_of_another_user_is_refused(world, key):
    os.chown(world.store, 12345, 12345)
    with pytest.raises(StoreUnavailableError, match="belongs to the user 12345"):
        open_service(world.store, None, key)


def test_an_error_about_a_damaged_document_holds_nothing_of_it(tmp_path):
    with pytest.raises(DamagedRecordError) as caught:
        parse(tmp_path / "x.json", "a hint", read_object, b'{"value": "half')
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_a_folder_opens_no_directory_through_a_link(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("outside")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "records").symlink_to(tmp_path / "outside")
    records = Folder(tmp_path / "store").folder("records")
    for work in (
        lambda: records.read("file", 100),
        lambda: records.write("file", b"x"),
        lambda: records.remove("file"),
        records.names,
    ):
        with pytest.raises(StoreUnavailableError):
            work()
    assert (tmp_path / "outside" / "file").read_text() == "outside"
