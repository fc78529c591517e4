"""What operators do with a store: keys, backups, restores, moves, checks."""
