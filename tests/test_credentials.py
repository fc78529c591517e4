"""What a provider may have as its credential or give as a value, and where its credential may go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import sealflow
from sealflow import (
    HostNotAllowedError,
    MasterKey,
    ProviderDeniedError,
    SecretExpiredError,
    SettingsError,
    WorkflowNotAllowedError,
)
from sealflow.providers import Credential, Destinations, ProviderOptions, ProviderSettings
from sealflow.providers.credentials import make_reveal
from sealflow.providers.directory import DirectoryOptions, DirectoryProvider
from sealflow.providers.environment import EnvironmentOptions, EnvironmentProvider
from sealflow.providers.kinds import make_provider
from sealflow.providers.options import check_options

VAULT = Destinations(("https://vault.example.com:8200",))


def reveal(service, destinations=VAULT, secret="login.value"):
    return make_reveal("p", service, destinations)(Credential(secret=secret))


@pytest.mark.parametrize(
    ("hosts", "destinations"),
    [
        (["vault.example.com"], VAULT),
        (["*.example.com:8200"], VAULT),
        (["127.0.0.1"], Destinations(("http://127.0.0.1:8200",))),
        (["http://vault.example.com"], Destinations(("http://vault.example.com",))),
        (None, VAULT),
        (None, Destinations()),
    ],
)
def test_a_credential_goes_where_its_secret_allows(service, hosts, destinations):
    service.create_secret("login", "api_key", {"value": "login-hunter2"}, allowed_hosts=hosts)
    assert reveal(service, destinations) == "login-hunter2"


@pytest.mark.parametrize(
    ("hosts", "destinations", "said"),
    [
        (["api.github.com"], VAULT, "may not be sent to vault.example.com:8200"),
        ([], VAULT, "may not be sent"),
        (["vault.example.com:443"], VAULT, "may not be sent"),
        (
            ["vault.example.com"],
            Destinations(("https://vault.example.com", "https://evil.example")),
            "evil.example",
        ),
        (["vault.example.com"], Destinations(("http://vault.example.com",)), "without TLS"),
        (["vault.example.com"], Destinations(("https://vault.example.com",), verified=False), "not verified"),
        (["vault.example.com"], Destinations(), "nobody knows"),
        (["vault.example.com"], Destinations(("https://vault.example.com@evil.example",)), "evil.example"),
        (["vault.example.com"], Destinations(("https://",)), "usual form"),
    ],
)
def test_a_credential_goes_nowhere_else(service, hosts, destinations, said):
    service.create_secret("login", "api_key", {"value": "login-hunter2"}, allowed_hosts=hosts)
    with pytest.raises(HostNotAllowedError, match=said) as caught:
        reveal(service, destinations)
    assert "hunter2" not in str(caught.value)


def test_an_expired_secret_is_not_a_credential(service):
    service.create_secret("login", "api_key", {"value": "login-hunter2"}, expires_at="2020-01-01T00:00:00Z")
    with pytest.raises(SecretExpiredError):
        reveal(service)


def test_a_secret_for_one_workflow_is_not_a_credential(service):
    service.create_secret("login", "api_key", {"value": "login-hunter2"}, allowed_workflows=["nightly"])
    with pytest.raises(WorkflowNotAllowedError):
        reveal(service)


def test_a_credential_that_is_read_is_in_the_audit_trail(service, tmp_path):
    service.create_secret("login", "api_key", {"value": "login-hunter2"})
    reveal(service)
    service.close()
    trail = "".join(path.read_text() for path in (tmp_path / "service").glob("audit*"))
    assert '"reveal"' in trail


@pytest.mark.parametrize("kind", ["vault", "aws"])
def test_the_providers_say_where_their_credentials_go(service, kind):
    service.create_secret("login", "api_key", {"value": "login-hunter2"}, allowed_hosts=["other.example"])
    options = {
        "vault": {
            "address": "https://vault.example.com",
            "login": {"method": "token", "token": {"secret": "login.value"}},
        },
        "aws": {
            "region": "eu-west-1",
            "access_key_id": {"env": "HOME"},
            "secret_access_key": {"secret": "login.value"},
        },
    }[kind]
    pytest.importorskip({"vault": "hvac", "aws": "boto3"}[kind])
    provider = make_provider(ProviderSettings(name="p", kind=kind, **options), service, None)
    where = {"vault": "vault.example.com:443", "aws": "secretsmanager.eu-west-1.amazonaws.com:443"}[kind]
    import asyncio

    with pytest.raises(HostNotAllowedError, match=where):
        asyncio.run(provider.get_secret("x"))


def test_aws_names_the_hosts_of_its_region():
    pytest.importorskip("boto3")
    from sealflow.providers.aws import AwsOptions

    assert AwsOptions(region="cn-north-1", role_arn="arn:x").destinations().addresses == (
        "https://secretsmanager.cn-north-1.amazonaws.com.cn",
        "https://sts.cn-north-1.amazonaws.com.cn",
    )
    assert AwsOptions(endpoint="https://aws.example.com").destinations().addresses == (
        "https://aws.example.com",
    )
    assert AwsOptions().destinations().addresses == ()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (
            "vault",
            {"address": "http://vault.example.com", "login": {"method": "token", "token": {"env": "X"}}},
        ),
        (
            "vault",
            {"address": "http://127.0.0.1.evil.example", "login": {"method": "token", "token": {"env": "X"}}},
        ),
        ("aws", {"endpoint": "http://aws.example.com"}),
    ],
)
def test_plain_http_needs_to_be_written_into_the_configuration(kind, options):
    pytest.importorskip({"vault": "hvac", "aws": "boto3"}[kind])
    with pytest.raises(SettingsError, match="allow_http"):
        make_provider(ProviderSettings(name="p", kind=kind, **options), None, None)
    assert make_provider(ProviderSettings(name="p", kind=kind, allow_http=True, **options), None, None)


@pytest.mark.parametrize(
    "name",
    [
        "WORKFLOW_SECRETS_MASTER_KEY",
        "WORKFLOW_SECRETS_PASSPHRASE",
        "WORKFLOW_SECRETS_ANYTHING",
        "SEALFLOW_CONFIG",
        "SEALFLOW_TRUSTED_FOLDERS",
    ],
)
def test_a_variable_of_sealflow_is_never_a_credential(name):
    with pytest.raises(SettingsError, match="never a credential"):
        check_options(Credential, {"env": name}, "here")


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("WORKFLOW_SECRETS_", "master_key"),
        ("WORKFLOW_", "secrets_master_key"),
        ("", "workflow_secrets_master_key"),
        ("W", "orkflow-secrets-master-key"),
        ("WORKFLOW", ""),
        ("SEALFLOW_", "config"),
        ("SEALFLOW", ""),
    ],
)
async def test_a_variable_of_sealflow_is_never_a_value(monkeypatch, prefix, name):
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", "the-key")
    monkeypatch.setenv("WORKFLOW__SECRETS_MASTER_KEY", "another")
    monkeypatch.delenv("WORKFLOW__SECRETS_MASTER_KEY")
    monkeypatch.setenv("SEALFLOW_CONFIG", "the-config")
    provider = EnvironmentProvider("env", EnvironmentOptions(prefix=prefix), None, 1)
    assert await provider.get_secret(name) is None


@pytest.fixture
def key_files(tmp_path, monkeypatch):
    """Every file that no provider may read, by how it is one."""
    store = sealflow.open_service(master_key=MasterKey.generate())
    store.close()
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "sealflow"
    (config / "keys").mkdir(parents=True)
    (config / "keys" / "a.key").write_text("the-key")
    (config / "trusted.json").write_text("{}")
    (tmp_path / "my.key").write_text("the-key")
    (tmp_path / "passphrase").write_text("the-passphrase")
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_FILE", str(tmp_path / "my.key"))
    monkeypatch.setenv("WORKFLOW_SECRETS_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    (tmp_path / "by-descriptor").write_text("the-key")
    descriptor = os.open(tmp_path / "by-descriptor", os.O_RDONLY)
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_FD", str(descriptor))
    (tmp_path / "link").symlink_to(tmp_path / "my.key")
    os.link(tmp_path / "my.key", tmp_path / "hard-link")
    yield {
        "default": config / "keys" / "a.key",
        "list": config / "trusted.json",
        "variable": tmp_path / "my.key",
        "passphrase": tmp_path / "passphrase",
        "descriptor": tmp_path / "by-descriptor",
        "link": tmp_path / "link",
        "hard link": tmp_path / "hard-link",
        "up and down": tmp_path / "work" / ".." / "my.key",
        "store": next(Path(".workflow/secrets").glob("*.db")),
        "environment": Path("/proc/self/environ"),
        "environment by number": Path(f"/proc/{os.getpid()}/environ"),
    }
    os.close(descriptor)


FILES = [
    "default",
    "list",
    "variable",
    "passphrase",
    "descriptor",
    "link",
    "hard link",
    "up and down",
    "store",
    "environment",
    "environment by number",
]


@pytest.mark.parametrize("which", FILES)
def test_a_file_of_sealflow_is_never_a_credential(key_files, which):
    with pytest.raises(SettingsError, match="belongs to sealflow itself") as caught:
        make_reveal("p", None, VAULT)(Credential(file=str(key_files[which])))
    assert "the-key" not in str(caught.value)


@pytest.mark.parametrize("which", [name for name in FILES if name != "up and down"])
async def test_a_file_of_sealflow_is_never_a_value(key_files, which):
    path = key_files[which]
    provider = DirectoryProvider("dir", DirectoryOptions(path=str(path.parent)), None, 1)
    try:
        found = await provider.get_secret(path.name)
    except (ProviderDeniedError, sealflow.ProviderMalformedError):
        found = None
    assert found is None


async def test_a_folder_of_fields_leaves_out_the_files_of_sealflow(key_files, tmp_path):
    folder = tmp_path / "mounted" / "github"
    folder.mkdir(parents=True)
    (folder / "token").write_text("good")
    os.link(tmp_path / "my.key", folder / "key")
    provider = DirectoryProvider("dir", DirectoryOptions(path=str(tmp_path / "mounted")), None, 1)
    assert await provider.get_secret("github") == {"token": "good"}


def test_a_file_that_keeps_a_reader_waiting_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="not a regular file"):
        make_reveal("p", None, VAULT)(Credential(file=str(tmp_path / "pipe")))


async def test_a_provider_is_one_method():
    class Mine(sealflow.ExternalSecretProvider):
        async def get_secret(self, name):
            return {"value": "an example"} if name == "example" else None

    provider = Mine("mine")
    await provider.check()
    await provider.close()
    assert provider.name == "mine"
    assert Mine.Options is ProviderOptions


async def test_the_default_check_fails_where_a_secret_cannot_be_asked_for():
    class Down(sealflow.ExternalSecretProvider):
        async def get_secret(self, name):
            raise sealflow.ProviderUnavailableError("it is down")

    with pytest.raises(sealflow.ProviderUnavailableError):
        await Down("down").check()
