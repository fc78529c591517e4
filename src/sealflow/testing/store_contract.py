"""StoreContract: what every SecretRegistry must do, as tests.

::

    class TestMyStore(StoreContract):
        backend = MyStore
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sealflow.errors import StoreError, StoreUnavailableError
from sealflow.model.stored import Dek, Kek, KeyringDocument, KeyWrap, StoredSecret, StoredVersion
from sealflow.stores.registry import SecretRegistry

_TIME = "2026-01-02T03:04:05.678901Z"
_POLICY = '{"allowed_hosts":null,"allowed_workflows":null,"expires_at":null}'
_KEYRING = KeyringDocument(
    (Dek("00" * 8, "active", _TIME),),
    (KeyWrap("00" * 8, "11" * 8, b"wrapped\0\xff"),),
    (Kek("11" * 8, "key", None, _TIME),),
)


def stored(name: str, *records: bytes | None, tags: tuple[str, ...] = (), **changes: Any) -> StoredSecret:
    """Return a secret with a version for each record."""
    versions = tuple(
        StoredVersion(number, changes.get("type", "api_key"), _POLICY, _TIME, record)
        for number, record in enumerate(records or (b"record",), 1)
    )
    return StoredSecret(
        f"id-{name}",
        name,
        changes.get("description"),
        tags,
        _TIME,
        _TIME,
        changes.get("deleted_at"),
        versions,
    )


class StoreContract:
    """Set ``backend`` to the class of the store."""

    backend: ClassVar[type[SecretRegistry]]

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        path = tmp_path / "store"
        path.mkdir(mode=0o700)
        return path

    @pytest.fixture
    def store(self, folder: Path) -> Any:
        with self.backend.create(folder, "st0re", _KEYRING) as registry:
            yield registry

    def save(self, store: SecretRegistry, *secrets: StoredSecret) -> None:
        with store.transaction() as transaction:
            for secret in secrets:
                transaction.save(secret)

    def test_it_is_a_registry(self, store: SecretRegistry) -> None:
        assert isinstance(store, SecretRegistry)
        assert store.store_id == "st0re"

    def test_a_directory_without_a_store_cannot_be_opened(self, folder: Path) -> None:
        assert not self.backend.exists(folder)
        with pytest.raises(StoreUnavailableError):
            self.backend.open(folder)

    def test_what_is_saved_is_there_after_opening_again(self, store: SecretRegistry, folder: Path) -> None:
        secret = stored("a", b"\0\x01\xff", b"two", tags=("x", "y"), description="ünïcode \u2713")
        self.save(store, secret)
        store.close()
        assert self.backend.exists(folder)
        with self.backend.open(folder) as again:
            assert again.store_id == "st0re"
            assert again.load("a") == secret
            assert again.keyring() == _KEYRING

    def test_read_gives_the_newest_version_or_the_one_asked_for(self, store: SecretRegistry) -> None:
        self.save(store, stored("a", b"one", b"two", b"three"))
        newest, second = store.read("a"), store.read("a", 2)
        assert newest is not None
        assert second is not None
        assert (newest.version, newest.record) == (3, b"three")
        assert (second.version, second.record) == (2, b"two")
        assert store.read("a", 4) is None
        assert store.read("b") is None

    @pytest.mark.parametrize("name", ["a", "A", "_", "a-b_c", "0" * 128, "CON", "nul"])
    def test_every_name_of_the_grammar_can_be_kept(self, store: SecretRegistry, name: str) -> None:
        self.save(store, stored(name, name.encode()), stored("other", b"other"))
        found = store.read(name)
        assert found is not None
        assert (found.name, found.record) == (name, name.encode())

    def test_names_that_differ_in_case_are_two_names(self, store: SecretRegistry) -> None:
        self.save(store, stored("Key", b"upper"), stored("key", b"lower"))
        assert [record.name for record in store.find()] == ["Key", "key"]

    def test_saving_again_replaces_versions_and_tags(self, store: SecretRegistry) -> None:
        self.save(store, stored("a", b"one", b"two", tags=("old",)))
        changed = stored("a", b"one", b"TWO", b"three", tags=("new",))
        self.save(store, changed)
        assert store.load("a") == changed
        self.save(store, changed._replace(versions=changed.versions[1:]))
        assert store.read("a", 1) is None

    def test_a_destroyed_version_has_no_record(self, store: SecretRegistry) -> None:
        self.save(store, stored("a", None, b"two"))
        found = store.read("a", 1)
        assert found is not None
        assert found.record is None

    def test_read_many_gives_those_that_are_there(self, store: SecretRegistry) -> None:
        self.save(store, stored("a", b"a1", b"a2"), stored("b", b"b1"), stored("gone", deleted_at=_TIME))
        found = {record.name: record.record for record in store.read_many(["a", "b", "gone", "never"])}
        assert found == {"a": b"a2", "b": b"b1"}

    def test_find_filters_by_type_and_by_all_tags(self, store: SecretRegistry) -> None:
        self.save(
            store,
            stored("c", tags=("x", "y"), type="oauth"),
            stored("a", tags=("x",)),
            stored("b", tags=("y",), description="B"),
        )
        assert [record.name for record in store.find()] == ["a", "b", "c"]
        assert [record.name for record in store.find("oauth")] == ["c"]
        assert [record.name for record in store.find(None, ["x"])] == ["a", "c"]
        assert [record.name for record in store.find(None, ["x", "y"])] == ["c"]
        assert [record.name for record in store.find("api_key", ["y", "z"])] == []
        assert store.find()[2].tags == ("x", "y")

    def test_find_has_no_records_in_it(self, store: SecretRegistry) -> None:
        self.save(store, stored("a", b"encrypted"))
        assert store.find()[0].record is None

    def test_a_deleted_secret_is_loaded_and_not_read(self, store: SecretRegistry) -> None:
        self.save(store, stored("a", deleted_at=_TIME))
        assert store.read("a") is None
        assert store.find() == []
        loaded = store.load("a")
        assert loaded is not None
        assert loaded.deleted_at == _TIME

    def test_remove_leaves_nothing(self, store: SecretRegistry) -> None:
        self.save(store, stored("a", tags=("x",)), stored("b"))
        with store.transaction() as transaction:
            transaction.remove("a")
            transaction.remove("never")
        assert store.load("a") is None
        assert [record.name for record in store.find()] == ["b"]

    def test_an_exception_inside_a_transaction_undoes_it(self, store: SecretRegistry) -> None:
        self.save(store, stored("a", b"old"))
        with pytest.raises(RuntimeError), store.transaction() as transaction:
            transaction.save(stored("a", b"new"))
            transaction.save(stored("b"))
            raise RuntimeError
        found = store.read("a")
        assert found is not None
        assert found.record == b"old"
        assert store.load("b") is None

    def test_a_transaction_sees_what_it_saved(self, store: SecretRegistry) -> None:
        with store.transaction() as transaction:
            transaction.save(stored("a", b"new"))
            assert transaction.load("a") == stored("a", b"new")
            transaction.remove("a")
            assert transaction.load("a") is None

    def test_the_keyring_is_replaced_as_a_whole(self, store: SecretRegistry) -> None:
        params = {"salt": "c2FsdA==", "n": 131072, "r": 8, "p": 1}
        changed = KeyringDocument(
            (Dek("00" * 8, "decrypt_only", _TIME), Dek("22" * 8, "active", _TIME)),
            (KeyWrap("00" * 8, "33" * 8, b"a"), KeyWrap("22" * 8, "33" * 8, b"b")),
            (Kek("33" * 8, "passphrase", params, _TIME),),
        )
        with store.transaction() as transaction:
            transaction.save_keyring(changed)
        assert store.keyring() == changed

    def test_a_snapshot_is_all_of_one_moment(self, store: SecretRegistry) -> None:
        kept = [stored("a", b"one", None, tags=("x",)), stored("gone", deleted_at=_TIME)]
        self.save(store, *kept)
        with store.snapshot() as snapshot:
            writer = threading.Thread(target=self.save, args=(store, stored("a", b"new"), stored("b")))
            writer.start()  # waits, or writes beside it; either way it is not seen
            assert sorted(snapshot.secrets) == kept
            assert snapshot.keyring == _KEYRING
        writer.join()
        with store.snapshot() as snapshot:
            assert [secret.name for secret in sorted(snapshot.secrets)] == ["a", "b", "gone"]

    def test_a_snapshot_inside_a_transaction_sees_what_was_there_before(self, store: SecretRegistry) -> None:
        self.save(store, stored("a", b"old"))
        with store.transaction() as transaction:
            transaction.remove("a")
            transaction.save(stored("b"))
            with store.snapshot() as snapshot:
                assert [secret.name for secret in snapshot.secrets] == ["a"]
        assert [record.name for record in store.find()] == ["b"]

    def test_a_whole_store_has_no_problems(self, store: SecretRegistry) -> None:
        self.save(store, stored("a", b"one", None), stored("gone", deleted_at=_TIME))
        assert store.problems() == []

    def test_many_threads_lose_nothing(self, store: SecretRegistry) -> None:
        self.save(store, stored("shared", b"0"))

        def add(worker: int) -> None:
            for _ in range(5):
                with store.transaction() as transaction:
                    old = transaction.load("shared")
                    assert old is not None
                    count = int(old.current.record or b"0") + 1
                    transaction.save(stored("shared", str(count).encode()))
                    transaction.save(stored(f"own-{worker}-{count}"))

        threads = [threading.Thread(target=add, args=(worker,)) for worker in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = store.read("shared")
        assert found is not None
        assert found.record == b"30"
        assert len(store.find()) == 31

    def test_a_large_record_can_be_kept(self, store: SecretRegistry) -> None:
        self.save(store, stored("a", bytes(range(256)) * 4096))
        found = store.read("a")
        assert found is not None
        assert found.record == bytes(range(256)) * 4096

    def test_every_file_is_private(self, store: SecretRegistry) -> None:
        self.save(store, stored("a"))
        status = store.status()
        assert bool(status.files) == bool(self.backend.files)
        assert {f"{file.stat().st_mode & 0o777:o}" for file in status.files} <= {"600"}
        assert status.secrets == 1
        assert status.backend == self.backend.backend

    def test_a_closed_store_says_so(self, store: SecretRegistry) -> None:
        store.close()
        store.close()
        with pytest.raises(StoreError):
            store.find()
