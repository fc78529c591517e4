"""For whoever extends sealflow: the contracts that every store and every provider must pass.

Needs pytest. Subclass a contract, give it a fixture, and run it.
"""

from sealflow.testing.provider_contract import ProviderContract
from sealflow.testing.store_contract import StoreContract

__all__ = ["ProviderContract", "StoreContract"]
