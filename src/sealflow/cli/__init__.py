"""The command line: for people, and for scripts with --json."""
