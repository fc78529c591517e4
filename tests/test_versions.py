"""Versions: history, going back, undelete, destroy; and expiry."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from sealflow import (
    BaseNode,
    NodeConfig,
    Resolver,
    SecretExistsError,
    SecretExpiredError,
    SecretNotFoundError,
    VersionConflictError,
    Workflow,
    run_workflow,
)
from sealflow.model import times
from sealflow.service.access import access_of


@pytest.fixture
def service(any_service):
    any_service.create_secret("a", "api_key", {"value": "value-one"}, allowed_hosts=["old.example.com"])
    any_service.update_secret("a", {"value": "value-two"}, allowed_hosts=["new.example.com"])
    return any_service


def in_days(days: float) -> str:
    return times.to_text(times.now() + timedelta(days=days))


def test_history_tells_versions_and_no_values(service):
    first, second = service.history("a")
    assert (first.version, first.current, first.destroyed) == (1, False, False)
    assert (second.version, second.current) == (2, True)
    assert first.policy.allowed_hosts == ("old.example.com",)
    assert "value-" not in repr(service.history("a"))
    service.delete_secret("a")
    assert not any(item.current for item in service.history("a"))
    with pytest.raises(SecretNotFoundError):
        service.history("b")
    with pytest.raises(SecretNotFoundError):
        service.history("no/name")


def test_rollback_makes_a_new_version_and_widens_nothing(service):
    info = service.rollback("a", 1, expected_version=2)
    assert info.version == 3
    assert service.get_secret("a").data == {"value": "value-one"}
    assert info.metadata.allowed_hosts == ("new.example.com",)
    with pytest.raises(VersionConflictError, match="version 3, not 2"):
        service.rollback("a", 1, expected_version=2)
    with pytest.raises(SecretNotFoundError, match="no version 9"):
        service.rollback("a", 9)
    service.delete_secret("a")
    with pytest.raises(SecretNotFoundError):
        service.rollback("a", 1)


def test_deleted_secrets_come_back(service):
    with pytest.raises(SecretExistsError, match="not deleted"):
        service.undelete("a")
    with pytest.raises(VersionConflictError):
        service.delete_secret("a", expected_version=1)
    service.delete_secret("a", expected_version=2)
    assert service.undelete("a").version == 2
    assert service.get_secret("a").data == {"value": "value-two"}
    with pytest.raises(SecretNotFoundError):
        service.undelete("b")


def test_destroyed_data_is_nowhere_in_the_store(service, tmp_path):
    record = access_of(service).registry.read("a", 1).record
    service.destroy("a", [1])
    with pytest.raises(SecretNotFoundError, match="version 1 of the secret 'a' was destroyed"):
        service.get_secret("a", 1)
    with pytest.raises(SecretNotFoundError, match="was destroyed"):
        service.rollback("a", 1)
    assert service.get_secret("a").data == {"value": "value-two"}
    assert [item.destroyed for item in service.history("a")] == [True, False]
    service.close()
    for path in (tmp_path / "service").rglob("*"):
        assert not path.is_file() or record[20:60] not in path.read_bytes()


def test_destroying_all_removes_the_name(service):
    with pytest.raises(SecretNotFoundError, match="no version 7"):
        service.destroy("a", [1, 7])
    assert service.get_secret("a", 1).data == {"value": "value-one"}  # nothing was destroyed
    service.delete_secret("a")
    service.destroy("a")
    with pytest.raises(SecretNotFoundError):
        service.history("a")
    assert service.create_secret("a", "api_key", {"value": "value-new"}).version == 1
    with pytest.raises(SecretNotFoundError):
        service.destroy("b")


def test_a_destroyed_newest_version_is_an_error_and_an_update_goes_on(service):
    service.destroy("a", [2])
    with pytest.raises(SecretNotFoundError, match="was destroyed"):
        service.get_secret("a")
    assert service.rollback("a", 1).version == 3


class Token(BaseNode):
    type_name = "token"

    class Config(NodeConfig):
        token: str

    async def process(self, context, config):
        return len(config.token)


async def test_expiry_is_said_before_it_comes_and_enforced_when_it_has(service, caplog):
    service.update_secret("a", expires_at=in_days(3))
    workflow = Workflow("w", [Token(f"n{index}", {"token": "{{secrets.a.value}}"}) for index in range(3)])
    execution = await run_workflow(workflow, service=service)
    assert execution.status == "completed"
    (warning,) = execution.warnings
    assert "'a' expires in 2 days" in warning
    assert caplog.text.count("expires in 2 days") == 1
    service.update_secret("a", expires_at=in_days(-1))
    with pytest.raises(SecretExpiredError, match="expired at"):
        await Resolver(service).resolve("a", "value")
    service.update_secret("a", expires_at=in_days(15))
    assert (await run_workflow(workflow, service=service)).warnings == []
    assert service.get_secret("a").data  # an operator still sees what expired


@pytest.mark.parametrize(("days", "said"), [(0.5, "today"), (1.5, "in 1 day,"), (13.9, "in 13 days")])
def test_a_warning_counts_days(service, days, said):
    service.update_secret("a", expires_at=in_days(days))
    policy = service.list_secrets()[0].metadata.policy
    assert said in policy.expiry_warning("a", times.now())


def test_the_commands_warn_before_a_secret_expires(cli, store_key, own_world, server):
    for name, days in (("soon", 5), ("later", 40), ("gone", -1), ("never", None)):
        given = [] if days is None else ["--expires-at", in_days(days)]
        create = ("secret", "create", name, "--init", "--type", "api_key", "--from-json", "-", *given)
        assert cli(*create, stdin='{"value": "some-value"}').code == 0

    def expiring(span):
        return [item["name"] for item in json.loads(cli("secret", "list", "--expiring", span, "--json").out)]

    assert expiring("14d") == ["gone", "soon"]
    assert expiring("8w") == ["gone", "later", "soon"]
    assert expiring("1h") == ["gone"]
    assert cli("secret", "list", "--expiring", "1h", "--tag", "x").err == "No secret matches.\n"
    wrong = cli("secret", "list", "--expiring", "soon")
    assert wrong.code == 1
    assert "90d" in wrong.err
    workflow = {"sealflow": 1, "name": "w", "nodes": {"n": {"type": "http-request", "config": {}}}}
    for name, warned, code in (("soon", True, 0), ("later", False, 0), ("gone", False, 1)):
        workflow["nodes"]["n"]["config"] = {"url": server.url, "auth": {"secret": name}}
        file = own_world / f"{name}.json"
        file.write_text(json.dumps(workflow))
        checked = cli("check", str(file))
        assert checked.code == code
        assert ("warning" in checked.err and "expires in 4 days" in checked.err) is warned
        ran = cli("run", str(file), "--json")
        assert ran.code == code
        assert ("warning: the secret 'soon' expires in 4 days" in ran.err) is warned
        assert len(json.loads(ran.out)["warnings"]) == warned
