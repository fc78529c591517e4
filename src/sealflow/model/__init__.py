"""What the rest is about: secrets, their types, metadata and policy, and the grammar of references."""
