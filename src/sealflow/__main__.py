"""``python -m sealflow``."""

import os
import sys

# `python -m` puts the current directory first on the path: what lies there would take the place of installed packages.
if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 - no further import yet
    del sys.path[0]

from sealflow.cli.main import main

main()
