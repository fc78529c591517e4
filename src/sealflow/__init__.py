"""sealflow: encrypted credentials for automated work.

A workflow file says ``{{secrets.github.token}}``; the value exists only inside the process that runs the node,
from just before it runs until just after. Everything named here is public; nothing else is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sealflow.crypto.master_key import MasterKey, Passphrase
    from sealflow.errors import (
        AuditError,
        DamagedRecordError,
        FieldNotFoundError,
        HostNotAllowedError,
        InvalidMasterKeyError,
        MasterKeyError,
        MissingMasterKeyError,
        NodeConfigError,
        NodeStateError,
        PolicyError,
        ProviderDeniedError,
        ProviderError,
        ProviderMalformedError,
        ProviderUnavailableError,
        ReferenceSyntaxError,
        SealflowError,
        SecretError,
        SecretExistsError,
        SecretExpiredError,
        SecretNotFoundError,
        SecretValidationError,
        SettingsError,
        StoreError,
        StoreFullError,
        StoreUnavailableError,
        TamperedError,
        VersionConflictError,
        WorkflowError,
        WorkflowNotAllowedError,
        WrongMasterKeyError,
    )
    from sealflow.model.places import FoundReference, find_references
    from sealflow.model.references import Reference
    from sealflow.model.secret import Secret, SecretInfo, SecretMetadata
    from sealflow.model.types import SecretFields, register_secret_type
    from sealflow.providers.base import ExternalSecretProvider
    from sealflow.resolver.resolver import Resolver, SecretResolver
    from sealflow.resolver.scope import ExecutionScope
    from sealflow.service.open_service import open_service
    from sealflow.service.secret_service import SecretService
    from sealflow.stores.registry import SecretRegistry
    from sealflow.stores.select import StoreFallbackWarning
    from sealflow.workflow.engine import run_workflow
    from sealflow.workflow.execution import Execution, NodeRun, NodeState
    from sealflow.workflow.function_node import node
    from sealflow.workflow.node import BaseNode, NodeConfig, NodeContext, Outputs, Retry
    from sealflow.workflow.node_types import register_node
    from sealflow.workflow.workflow import Link, Workflow

_ERRORS = (
    "AuditError DamagedRecordError FieldNotFoundError HostNotAllowedError InvalidMasterKeyError MasterKeyError "
    "MissingMasterKeyError NodeConfigError NodeStateError PolicyError ProviderDeniedError ProviderError "
    "ProviderMalformedError ProviderUnavailableError ReferenceSyntaxError SealflowError SecretError "
    "SecretExistsError SecretExpiredError SecretNotFoundError SecretValidationError SettingsError StoreError "
    "StoreFullError StoreUnavailableError TamperedError VersionConflictError WorkflowError "
    "WorkflowNotAllowedError WrongMasterKeyError"
)
_WHERE = {
    "errors": _ERRORS,
    "crypto.master_key": "MasterKey Passphrase",
    "model.places": "FoundReference find_references",
    "model.references": "Reference",
    "model.secret": "Secret SecretInfo SecretMetadata",
    "model.types": "SecretFields register_secret_type",
    "providers.base": "ExternalSecretProvider",
    "resolver.resolver": "Resolver SecretResolver",
    "resolver.scope": "ExecutionScope",
    "service.open_service": "open_service",
    "service.secret_service": "SecretService",
    "stores.registry": "SecretRegistry",
    "stores.select": "StoreFallbackWarning",
    "workflow.engine": "run_workflow",
    "workflow.execution": "Execution NodeRun NodeState",
    "workflow.workflow": "Link Workflow",
    "workflow.function_node": "node",
    "workflow.node": "BaseNode NodeConfig NodeContext Outputs Retry",
    "workflow.node_types": "register_node",
}
_MODULES = {name: f"sealflow.{module}" for module, names in _WHERE.items() for name in names.split()}

__all__ = ["__version__", *sorted(_MODULES)]  # noqa: PLE0604 - the table above is the list


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that a command pays only for what it needs."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
