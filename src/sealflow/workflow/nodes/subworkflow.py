"""workflow: runs another workflow file of the same trusted folder inside this execution."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from sealflow.errors import WorkflowError
from sealflow.owners import find_writer
from sealflow.workflow.node import BaseNode, NodeContext
from sealflow.workflow.node_config import NodeConfig
from sealflow.workflow.workflow import Workflow


class SubworkflowConfig(NodeConfig):
    """``file``: a workflow file, relative to this one. ``output``: the node whose output to give; without it, the output
    of the only end node, or a mapping of all end nodes' outputs by name.
    """

    file: str
    output: str | None = None


class SubworkflowNode(BaseNode):
    """Runs a workflow file with this node's input, and with the secrets and the limits of this execution."""

    type_name: ClassVar[str] = "workflow"
    Config: ClassVar[type[BaseModel]] = SubworkflowConfig
    no_data: ClassVar[tuple[str, ...]] = ("file",)

    async def process(self, context: NodeContext, config: SubworkflowConfig) -> Any:
        if self.folder is None or context.run_nested is None:
            raise WorkflowError(
                "a workflow inside a workflow needs a file to be relative to",
                hint="Load the outer workflow from a file",
                path="file",
            )
        path = (self.folder / config.file).resolve()
        if not path.is_relative_to(self.folder):
            raise WorkflowError(
                "the file lies outside the folder of this workflow",
                hint="Copy it into the folder",
                path="file",
            )
        self._check_writers(path, self.folder)
        workflow = Workflow.load(path)
        wanted = [config.output] if config.output is not None else workflow.end_nodes()
        if config.output is not None and config.output not in workflow.end_nodes():
            raise WorkflowError(
                f"{config.output!r} is not an end node of the workflow {workflow.name!r}",
                hint=f"Its end nodes are: {', '.join(workflow.end_nodes())}",
                path="output",
            )
        outputs = await context.run_nested(workflow, context.input)
        return outputs[wanted[0]] if len(wanted) == 1 else outputs

    @staticmethod
    def _check_writers(path: Path, folder: Path) -> None:
        """Refuse a file that another user may change, as a module beside the workflow file is refused."""
        for place in (path, *path.parents):
            if place == folder:
                return
            writer = find_writer(place) if place.exists() else None
            if writer is not None:
                raise WorkflowError(
                    f"the workflow file is not used: {writer[0]}", hint=writer[1], path="file"
                )
