"""Renaming and copying: the record is bound to the name, so it is encrypted again."""

from __future__ import annotations

import json

import pytest

from sealflow import SecretExistsError, SecretNotFoundError, SecretValidationError


@pytest.fixture
def filled(any_service):
    """A service with the secret ``old``, of two versions."""
    any_service.create_secret(
        "old", "api_key", {"value": "first-value"}, description="d", tags=["t"], allowed_hosts=["x.example"]
    )
    any_service.update_secret("old", {"value": "second-value"})
    return any_service


def test_a_renamed_secret_keeps_all_its_versions(filled):
    filled.rename_secret("old", "new")
    assert filled.get_secret("new").data == {"value": "second-value"}
    assert filled.get_secret("new", 1).data == {"value": "first-value"}
    with pytest.raises(SecretNotFoundError):
        filled.get_secret("old")


def test_a_renamed_secret_keeps_its_metadata_and_policy(filled):
    before = filled.get_secret("old").info.to_dict()
    after = filled.rename_secret("old", "new").to_dict()
    for changed in ("name", "updated_at"):
        before.pop(changed), after.pop(changed)
    assert after == before


def test_a_destroyed_version_stays_destroyed(filled):
    filled.destroy("old", [1])
    filled.rename_secret("old", "new")
    assert [item.destroyed for item in filled.history("new")] == [True, False]


@pytest.mark.parametrize("method", ["rename_secret", "copy_secret"])
def test_a_name_in_use_is_refused(filled, method):
    filled.create_secret("new", "api_key", {"value": "other-value"})
    with pytest.raises(SecretExistsError):
        getattr(filled, method)("old", "new")
    assert filled.get_secret("new").data == {"value": "other-value"}
    assert filled.get_secret("old").version == 2


def test_the_name_of_a_deleted_secret_is_refused_for_rename(filled):
    filled.create_secret("new", "api_key", {"value": "other-value"})
    filled.delete_secret("new")
    with pytest.raises(SecretExistsError, match="destroy it"):
        filled.rename_secret("old", "new")


@pytest.mark.parametrize("method", ["rename_secret", "copy_secret"])
def test_an_invalid_name_is_refused(filled, method):
    with pytest.raises(SecretValidationError):
        getattr(filled, method)("old", "a b")


def test_a_copy_is_a_secret_of_its_own(filled):
    info = filled.copy_secret("old", "new")
    assert (info.version, info.metadata.description, info.metadata.tags) == (1, "d", ("t",))
    assert info.metadata.policy.allowed_hosts == ("x.example",)
    filled.update_secret("old", {"value": "third-value"})
    assert filled.get_secret("new").data == {"value": "second-value"}


def test_the_audit_trail_names_both(cli, one_secret):
    assert cli("secret", "rename", "a", "b").code == 0
    assert cli("secret", "copy", "b", "c").code == 0
    lines = json.loads(cli("audit", "--json").out)
    told = [(item["action"], item["secret"]) for item in lines]
    assert told[-4:] == [("rename", "a"), ("rename", "b"), ("copy", "b"), ("create", "c")]


def test_the_command_says_how_to_find_what_must_be_changed(cli, one_secret):
    assert "sealflow secret usage a" in cli("secret", "rename", "a", "b").out


def names(result):
    return [item["name"] for item in json.loads(result.out)]


@pytest.fixture
def several(cli, one_secret):
    for name, more in {"prod-db": ["--tag", "Blue"], "prod-api": ["--description", "the BLUE one"]}.items():
        assert cli("secret", "copy", "a", name).code == 0
        assert cli("secret", "update", name, *more).code == 0
    return cli


def test_list_takes_a_pattern(several):
    assert names(several("secret", "list", "prod-*", "--json")) == ["prod-api", "prod-db"]
    assert several("secret", "list", "x*").err == "No secret matches.\n"


def test_search_looks_at_names_descriptions_and_tags_in_any_case(several):
    assert names(several("secret", "search", "blue", "--json")) == ["prod-api", "prod-db"]
    assert names(several("secret", "search", "DB", "--json")) == ["prod-db"]


def test_several_tags_in_one_are_refused_with_the_way(cli, one_secret):
    result = cli("secret", "update", "a", "--tag", "a,b")
    assert result.code == 2
    assert "--tag a --tag b" in result.err
