"""Where values come from: external systems behind ExternalSecretProvider, and the local store."""
