"""``msg export``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from msg.cli.errors import user_errors
from msg.cli.screen import show


def export(
    run: Annotated[Path, Parameter(help="Folder of a finished msg train.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The file.")],
    format: Annotated[
        Literal["pt2", "onnx"] | None,
        Parameter(help="Of torch.export, or ONNX; by default ONNX where OUT ends in .onnx."),
    ] = None,
) -> None:
    """Write the best weights of a finished run as a program for graphs of any size, which needs no msg to run."""
    from msg.experiments.exporting import export as write

    with user_errors():
        write(run, out, format)
    show(f"kept in {out}, checked on another graph")
