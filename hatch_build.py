"""Puts the pages that ``sealflow help`` shows into the wheel; an editable install reads them from ``docs``."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class HelpPages(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            for folder in ("how-to", "reference"):
                build_data["force_include"][f"docs/{folder}"] = f"sealflow/help/{folder}"
