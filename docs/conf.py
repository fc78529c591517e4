"""How `make docs` builds these pages: Sphinx with furo and MyST; the API reference comes from the docstrings."""

import sys
from pathlib import Path

import sealflow

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "sealflow"
copyright = "sealflow contributors"  # noqa: A001 - Sphinx's name for it
release = version = sealflow.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "public_reference"]
exclude_patterns = ["_extensions"]

html_theme = "furo"
html_title = f"sealflow {release}"
html_copy_source = False
templates_path: list[str] = []

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
maximum_signature_line_length = 88
python_use_unqualified_type_names = True

# Named in public signatures, and not public yet.
nitpick_ignore = [
    ("py:class", f"sealflow.{name}")
    for name in (
        "audit.AuditLog",
        "model.contents.Contents",
        "resolver.chain.Chain",
        "resolver.provider_source.ProviderSource",
    )
]

# Every name of ours that a page or a signature mentions must lead somewhere. Names of other projects do not: their
# inventories would have to be downloaded.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!sealflow\b).*"), ("py:.*", r"sealflow\..*\._\w+")]
