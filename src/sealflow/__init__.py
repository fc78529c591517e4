"""sealflow: encrypted credentials for automated work.

A workflow file says ``{{secrets.github.token}}``; the value exists only inside the process that runs the node,
from just before it runs until just after. What ``__all__`` names here and in ``sealflow.stores``,
``sealflow.providers``, ``sealflow.operations`` and ``sealflow.testing`` is public; nothing else is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealflow.lazy import load_name

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sealflow.audit import AuditWarning
    from sealflow.crypto.master_key import KeySource, MasterKey, Passphrase
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
        TrustError,
        VersionConflictError,
        WorkflowError,
        WorkflowNotAllowedError,
        WrongMasterKeyError,
    )
    from sealflow.model.places import FoundReference, find_references
    from sealflow.model.policy import Policy
    from sealflow.model.references import DataPath, Reference
    from sealflow.model.secret import Secret, SecretData, SecretInfo, SecretMetadata, SecretVersion
    from sealflow.model.types import SecretFields, register_secret_type
    from sealflow.providers.base import ExternalSecretProvider
    from sealflow.resolver.carried import SecretUse
    from sealflow.resolver.open_resolver import get
    from sealflow.resolver.resolver import Resolver, SecretResolver
    from sealflow.resolver.scope import ExecutionScope, Resolved
    from sealflow.service.open_service import open_service
    from sealflow.service.secret_service import SecretService
    from sealflow.stores.registry import SecretRegistry
    from sealflow.stores.select import StoreFallbackWarning
    from sealflow.workflow.engine import run_workflow
    from sealflow.workflow.execution import Execution, NodeRun, NodeState
    from sealflow.workflow.flow import Flow, ForEach
    from sealflow.workflow.function_node import NodeFunction, node
    from sealflow.workflow.functions import function
    from sealflow.workflow.node import BaseNode, NodeContext, Outputs, Resources, Retry, RetryPolicy
    from sealflow.workflow.node_config import NodeConfig
    from sealflow.workflow.node_types import register_node
    from sealflow.workflow.workflow import Link, Workflow

__all__ = [
    "AuditError",
    "AuditWarning",
    "BaseNode",
    "DamagedRecordError",
    "DataPath",
    "Execution",
    "ExecutionScope",
    "ExternalSecretProvider",
    "FieldNotFoundError",
    "Flow",
    "ForEach",
    "FoundReference",
    "HostNotAllowedError",
    "InvalidMasterKeyError",
    "KeySource",
    "Link",
    "MasterKey",
    "MasterKeyError",
    "MissingMasterKeyError",
    "NodeConfig",
    "NodeConfigError",
    "NodeContext",
    "NodeFunction",
    "NodeRun",
    "NodeState",
    "NodeStateError",
    "Outputs",
    "Passphrase",
    "Policy",
    "PolicyError",
    "ProviderDeniedError",
    "ProviderError",
    "ProviderMalformedError",
    "ProviderUnavailableError",
    "Reference",
    "ReferenceSyntaxError",
    "Resolved",
    "Resolver",
    "Resources",
    "Retry",
    "RetryPolicy",
    "SealflowError",
    "Secret",
    "SecretData",
    "SecretError",
    "SecretExistsError",
    "SecretExpiredError",
    "SecretFields",
    "SecretInfo",
    "SecretMetadata",
    "SecretNotFoundError",
    "SecretRegistry",
    "SecretResolver",
    "SecretService",
    "SecretUse",
    "SecretValidationError",
    "SecretVersion",
    "SettingsError",
    "StoreError",
    "StoreFallbackWarning",
    "StoreFullError",
    "StoreUnavailableError",
    "TamperedError",
    "TrustError",
    "VersionConflictError",
    "Workflow",
    "WorkflowError",
    "WorkflowNotAllowedError",
    "WrongMasterKeyError",
    "__version__",
    "find_references",
    "function",
    "get",
    "node",
    "open_service",
    "register_node",
    "register_secret_type",
    "run_workflow",
]

_MODULES = {
    "AuditError": "sealflow.errors",
    "AuditWarning": "sealflow.audit",
    "BaseNode": "sealflow.workflow.node",
    "DamagedRecordError": "sealflow.errors",
    "DataPath": "sealflow.model.references",
    "Execution": "sealflow.workflow.execution",
    "ExecutionScope": "sealflow.resolver.scope",
    "ExternalSecretProvider": "sealflow.providers.base",
    "FieldNotFoundError": "sealflow.errors",
    "Flow": "sealflow.workflow.flow",
    "ForEach": "sealflow.workflow.flow",
    "FoundReference": "sealflow.model.places",
    "HostNotAllowedError": "sealflow.errors",
    "InvalidMasterKeyError": "sealflow.errors",
    "KeySource": "sealflow.crypto.master_key",
    "Link": "sealflow.workflow.workflow",
    "MasterKey": "sealflow.crypto.master_key",
    "MasterKeyError": "sealflow.errors",
    "MissingMasterKeyError": "sealflow.errors",
    "NodeConfig": "sealflow.workflow.node_config",
    "NodeConfigError": "sealflow.errors",
    "NodeContext": "sealflow.workflow.node",
    "NodeFunction": "sealflow.workflow.function_node",
    "NodeRun": "sealflow.workflow.execution",
    "NodeState": "sealflow.workflow.execution",
    "NodeStateError": "sealflow.errors",
    "Outputs": "sealflow.workflow.node",
    "Passphrase": "sealflow.crypto.master_key",
    "Policy": "sealflow.model.policy",
    "PolicyError": "sealflow.errors",
    "ProviderDeniedError": "sealflow.errors",
    "ProviderError": "sealflow.errors",
    "ProviderMalformedError": "sealflow.errors",
    "ProviderUnavailableError": "sealflow.errors",
    "Reference": "sealflow.model.references",
    "ReferenceSyntaxError": "sealflow.errors",
    "Resolved": "sealflow.resolver.scope",
    "Resolver": "sealflow.resolver.resolver",
    "Resources": "sealflow.workflow.node",
    "Retry": "sealflow.workflow.node",
    "RetryPolicy": "sealflow.workflow.node",
    "SealflowError": "sealflow.errors",
    "Secret": "sealflow.model.secret",
    "SecretData": "sealflow.model.secret",
    "SecretError": "sealflow.errors",
    "SecretExistsError": "sealflow.errors",
    "SecretExpiredError": "sealflow.errors",
    "SecretFields": "sealflow.model.types",
    "SecretInfo": "sealflow.model.secret",
    "SecretMetadata": "sealflow.model.secret",
    "SecretNotFoundError": "sealflow.errors",
    "SecretRegistry": "sealflow.stores.registry",
    "SecretResolver": "sealflow.resolver.resolver",
    "SecretService": "sealflow.service.secret_service",
    "SecretUse": "sealflow.resolver.carried",
    "SecretValidationError": "sealflow.errors",
    "SecretVersion": "sealflow.model.secret",
    "SettingsError": "sealflow.errors",
    "StoreError": "sealflow.errors",
    "StoreFallbackWarning": "sealflow.stores.select",
    "StoreFullError": "sealflow.errors",
    "StoreUnavailableError": "sealflow.errors",
    "TamperedError": "sealflow.errors",
    "TrustError": "sealflow.errors",
    "VersionConflictError": "sealflow.errors",
    "Workflow": "sealflow.workflow.workflow",
    "WorkflowError": "sealflow.errors",
    "WorkflowNotAllowedError": "sealflow.errors",
    "WrongMasterKeyError": "sealflow.errors",
    "find_references": "sealflow.model.places",
    "function": "sealflow.workflow.functions",
    "get": "sealflow.resolver.open_resolver",
    "node": "sealflow.workflow.function_node",
    "open_service": "sealflow.service.open_service",
    "register_node": "sealflow.workflow.node_types",
    "register_secret_type": "sealflow.model.types",
    "run_workflow": "sealflow.workflow.engine",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that a command pays only for what it needs."""
    return load_name(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
