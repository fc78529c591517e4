"""Where encrypted secrets are kept: SQLite (default) and files, behind SecretRegistry."""
