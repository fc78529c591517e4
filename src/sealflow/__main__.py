"""``python -m sealflow``."""

from sealflow.cli.main import main

main()
