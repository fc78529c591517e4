"""A user's file: every public name of ``sealflow``, used as users use it. Type-checked by `make lint-typing`, never run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

import sealflow
from sealflow import (
    AuditError,
    AuditWarning,
    BaseNode,
    DamagedRecordError,
    DataPath,
    Execution,
    ExecutionScope,
    ExternalSecretProvider,
    FieldNotFoundError,
    Flow,
    ForEach,
    FoundReference,
    HostNotAllowedError,
    InvalidMasterKeyError,
    KeySource,
    Link,
    MasterKey,
    MasterKeyError,
    MissingMasterKeyError,
    NodeConfig,
    NodeConfigError,
    NodeContext,
    NodeFunction,
    NodeRun,
    NodeState,
    NodeStateError,
    Outputs,
    Passphrase,
    Policy,
    PolicyError,
    ProviderDeniedError,
    ProviderError,
    ProviderMalformedError,
    ProviderUnavailableError,
    Reference,
    ReferenceSyntaxError,
    Resolved,
    Resolver,
    Resources,
    Retry,
    RetryPolicy,
    SealflowError,
    Secret,
    SecretData,
    SecretError,
    SecretExistsError,
    SecretExpiredError,
    SecretFields,
    SecretInfo,
    SecretMetadata,
    SecretNotFoundError,
    SecretRegistry,
    SecretResolver,
    SecretService,
    SecretUse,
    SecretValidationError,
    SecretVersion,
    SettingsError,
    StoreError,
    StoreFallbackWarning,
    StoreFullError,
    StoreUnavailableError,
    TamperedError,
    TrustError,
    VersionConflictError,
    Workflow,
    WorkflowError,
    WorkflowNotAllowedError,
    WrongMasterKeyError,
)
from sealflow.providers import (
    Credential,
    CredentialSource,
    Destinations,
    FilePath,
    ProviderKind,
    ProviderOptions,
    ProviderSettings,
    Reveal,
)


class Webhook(SecretFields):
    """A secret type of one's own."""

    url_token: str


sealflow.register_secret_type("webhook", Webhook)


@sealflow.register_node
class Greet(BaseNode):
    """A node of one's own."""

    type_name = "greet"
    outputs = ("output", "rest")

    class Config(NodeConfig):
        name: str
        token: SecretStr

    async def process(self, context: NodeContext, config: Config) -> Outputs:
        context.log.info("attempt %s of %s", context.attempt, context.node)
        context.learn(config.token.get_secret_value() + "-suffix")
        if context.attempt < 2:
            raise Retry(Outputs(output=None), after=0.5)
        return Outputs(output={"greeting": f"Hello {config.name}"}, rest=context.input)


@sealflow.node("shout")
def shout(text: str, times: int = 1) -> str:
    return text.upper() * times


@sealflow.function("whisper")
def whisper(text: str) -> str:
    return text.lower()


class MyProvider(ExternalSecretProvider):
    """A provider of one's own: a backend is one method."""

    class Options(ProviderOptions):
        address: str
        token: CredentialSource
        folder: FilePath = "."

        def destinations(self) -> Destinations:
            return Destinations((self.address,), verified=True)

    async def get_secret(self, name: str) -> Mapping[str, Any] | None:
        if name == "down":
            raise ProviderUnavailableError("it is down", hint="Wait")
        return {"token": "value"} if name == "github" else None


def use_the_provider(kind: ProviderKind, settings: ProviderSettings) -> None:
    def read(credential: Credential) -> str:
        return credential.env or ""

    reveal: Reveal = read
    provider: ExternalSecretProvider = kind(settings.name, settings.options, reveal, settings.timeout)
    made: MyProvider = MyProvider("mine")
    print(provider.name, made.options, made.timeout)


def use_the_service(service: SecretService) -> None:
    info: SecretInfo = service.create_secret(
        "github", "bearer_token", {"token": "value"}, tags=["ci"], allowed_hosts=["api.github.com"]
    )
    metadata: SecretMetadata = info.metadata
    policy: Policy = metadata.policy
    expires: datetime | None = policy.expires_at
    data: SecretData = {"token": "other"}
    info = service.update_secret("github", data, expected_version=info.version, description=None)
    secret: Secret = service.get_secret("github")
    versions: list[SecretVersion] = service.history("github")
    service.rollback("github", versions[0].version)
    service.delete_secret("github")
    service.undelete("github")
    service.destroy("github", [1])
    names: list[str] = [item.name for item in service.list_secrets(tags=["ci"])]
    print(service.resolve_config({"a": "{{secrets.github.token}}"}), secret.fields, names, expires)


def use_keys(path: Path) -> SecretService:
    key: KeySource = MasterKey.generate()
    if isinstance(key, Passphrase):
        raise SystemExit("not here")
    return sealflow.open_service(path, "sqlite", key, audit_required=True)


async def use_the_resolver(service: SecretService) -> None:
    resolver = Resolver(service, [MyProvider("mine")], timeout=5)
    checked: SecretResolver = resolver
    async with resolver, resolver.scope("report", "1") as scope:
        one: ExecutionScope = scope
        resolved: Resolved = await one.resolve_with_uses({"a": "{{secrets.github.token}}"}, "node")
        uses: tuple[SecretUse, ...] = resolved.uses
        print(await checked.resolve("github", "token"), [use.policy for use in uses])


def use_the_synchronous_door(service: SecretService) -> None:
    resolver = Resolver(service)
    print(sealflow.get("github.token"), resolver.resolve_sync("github", "token"))
    print(resolver.resolve_config_sync({"a": "{{secrets.github.token}}"}))
    resolver.close_sync()


def use_workflows(service: SecretService) -> Execution:
    found: list[FoundReference] = sealflow.find_references({"a": "{{secrets.github.token}}"})
    reference: Reference = found[0].reference
    first = shout.node("first", {"text": str(reference)}, retry=RetryPolicy(attempts=2), timeout=5)
    made: NodeFunction[..., str] = shout
    quiet: str = whisper("HELLO")
    print(quiet)
    text: str = shout("hello", times=2)
    workflow = Workflow(
        "loud", [first, Greet("second", {"name": "Ada", "token": "{{secrets.github.token}}"})]
    )
    link: Link = workflow.link("first.output", "second.input")
    again: Workflow = Workflow.from_dict(workflow.to_dict())
    execution: Execution = asyncio.run(sealflow.run_workflow(again, {"a": 1}, service=service))
    run: NodeRun = execution.nodes["first"]
    if run.state is NodeState.COMPLETED:
        print(run.outputs["output"], made.node_class.type_name, link, text, sealflow.__version__)
    return execution


def use_flow(path: DataPath) -> sealflow.BaseNode:
    flow = Flow(when="input.ok", for_each=ForEach(items="input.items", concurrency=2), learn=("token",))
    return shout.node("each", {"text": str(path)}, flow=flow)


class Session:
    async def close(self) -> None:
        return None


def use_resources(resources: Resources) -> Session:
    return resources.get("session", Session)


def use_errors(work: Any) -> str:
    try:
        work()
    except ReferenceSyntaxError as error:
        return f"{error.path}:{error.column}"
    except ProviderUnavailableError as error:
        return f"{error.retry_after}"
    except (SecretNotFoundError, FieldNotFoundError, SecretExistsError, VersionConflictError) as error:
        return f"{error.secret}.{error.field}"
    except (
        SecretExpiredError,
        SecretValidationError,
        SecretError,
        TamperedError,
        TrustError,
        SettingsError,
    ) as error:
        return f"{error.message} {error.hint}"
    except (MissingMasterKeyError, InvalidMasterKeyError, WrongMasterKeyError, MasterKeyError) as error:
        return str(error)
    except (StoreUnavailableError, StoreFullError, DamagedRecordError, AuditError, StoreError) as error:
        return str(error)
    except (ProviderDeniedError, ProviderMalformedError, ProviderError) as error:
        return str(error)
    except (HostNotAllowedError, WorkflowNotAllowedError, PolicyError) as error:
        return str(error)
    except (NodeConfigError, NodeStateError, WorkflowError, SealflowError) as error:
        return str(error.placed("somewhere", path="auth.token"))
    except (StoreFallbackWarning, AuditWarning) as warning:
        return str(warning)
    return ""


def use_a_registry(registry: SecretRegistry) -> str:
    return registry.store_id
