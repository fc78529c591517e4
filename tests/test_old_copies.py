"""Copies of the store that moves and restores leave: named where a secret is destroyed, and removed by one command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sealflow import StoreUnavailableError, open_service
from sealflow.operations import (
    Settings,
    create_backup,
    find_old_copies,
    migrate_store,
    remove_old_copies,
    restore_backup,
)


@pytest.fixture
def settings(store_key, own_world):
    with open_service() as service:
        service.create_secret("a", "api_key", {"value": "a-value-to-destroy"})
    return Settings.load()


@pytest.fixture
def copies(settings):
    """A copy that a move left, and one that a restore left."""
    create_backup(settings, Path("b"))
    restore_backup(settings, Path("b"))
    migrate_store(settings, "file")
    found = find_old_copies(settings)
    assert len(found) == 2
    return found


def test_a_store_that_was_never_moved_or_restored_has_no_old_copies(settings):
    assert find_old_copies(settings) == ()


def test_the_copy_of_a_move_is_found(settings):
    migrate_store(settings, "file")
    (copy,) = find_old_copies(settings)
    assert copy.parent == settings.path


def test_the_copy_of_a_restore_is_found(settings):
    create_backup(settings, Path("b"))
    kept = restore_backup(settings, Path("b")).kept
    assert find_old_copies(settings) == (kept,)


def test_a_backup_that_somebody_made_is_not_an_old_copy(settings):
    create_backup(settings, settings.path.with_name(settings.path.name + ".backup"))
    assert find_old_copies(settings) == ()


def test_a_link_is_not_an_old_copy(settings, tmp_path):
    (tmp_path / "precious").mkdir()
    (settings.path / "old-sqlite-x").symlink_to(tmp_path / "precious")
    settings.path.with_name(settings.path.name + ".before-restore-x").symlink_to(tmp_path / "precious")
    assert find_old_copies(settings) == ()


def test_both_kinds_of_copies_are_removed(settings, copies):
    assert remove_old_copies(settings) == copies
    assert not any(item.exists() for item in copies)
    with open_service() as service:
        assert service.get_secret("a").data == {"value": "a-value-to-destroy"}


def test_there_may_be_nothing_to_remove(settings):
    with pytest.raises(StoreUnavailableError, match="no old copies"):
        remove_old_copies(settings)


def test_the_command_removes_both_kinds(cli, settings, copies):
    result = cli("store", "migrate", "--remove-old", "--yes", "--json")
    assert json.loads(result.out) == {"removed": [str(item) for item in copies]}
    assert not any(item.exists() for item in copies)


def test_destroy_names_the_copies_and_the_command_that_removes_them(cli, settings, copies):
    result = cli("secret", "destroy", "a", "--all", "--yes")
    assert result.code == 0
    assert all(str(item) in result.err for item in copies)
    assert "sealflow store migrate --remove-old" in result.err


def test_destroy_gives_the_copies_to_a_script(cli, settings, copies):
    result = cli("secret", "destroy", "a", "--all", "--yes", "--json")
    assert json.loads(result.out)["old_copies"] == [str(item) for item in copies]


def test_destroy_says_nothing_more_when_there_are_no_copies(cli, settings):
    result = cli("secret", "destroy", "a", "--all", "--yes")
    assert result.err == ""
