"""Envelope (the record format), keyring (KEK to DEK), and where master keys come from."""
