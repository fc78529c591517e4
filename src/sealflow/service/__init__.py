"""SecretService: create, get, update, delete, list, the same on every store."""
