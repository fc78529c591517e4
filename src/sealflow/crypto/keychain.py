"""The operating system's keychain as a place for master keys, through the ``keyring`` library (extra: keychain)."""

from __future__ import annotations

from typing import Any

from sealflow.crypto.master_key import MasterKey
from sealflow.errors import InvalidMasterKeyError, MissingMasterKeyError

SERVICE = "sealflow"


def read_keychain(entry: str) -> MasterKey:
    """Return the master key kept under ``entry``.

    Raises MissingMasterKeyError when there is none, or no keychain that could be asked; InvalidMasterKeyError.
    """
    text = _keychain("get_password", entry)
    if not text:
        raise MissingMasterKeyError(
            f"the keychain has no master key {entry!r}",
            hint="Correct the name; for a new store, `sealflow init --keychain NAME` makes one",
        )
    return MasterKey.parse(str(text), f"the keychain entry {entry!r}")


def write_keychain(entry: str, key: MasterKey) -> None:
    """Keep a master key under ``entry``; InvalidMasterKeyError when something is kept there already."""
    if _keychain("get_password", entry):
        raise InvalidMasterKeyError(
            f"the keychain already has an entry {entry!r}",
            hint="Choose another name: a key is never written over another",
        )
    _keychain("set_password", entry, key.to_text())


def remove_keychain(entry: str) -> None:
    """Take back what ``write_keychain`` kept, for a key that no store came to use."""
    _keychain("delete_password", entry)


def _keychain(call: str, *arguments: str) -> Any:
    """Call the library; its errors are not ours to show, as they may hold what they were given."""
    problem = ""
    try:
        import keyring

        return getattr(keyring, call)(SERVICE, *arguments)
    except ImportError:
        problem = "the library for it is not installed"
    except Exception as error:  # noqa: BLE001 - each backend has errors of its own
        problem = f"it cannot be used here ({type(error).__name__})"
    raise MissingMasterKeyError(
        f"the system's keychain: {problem}",
        hint="Install sealflow[keychain], unlock the keychain, or keep the key in a file",
    )
