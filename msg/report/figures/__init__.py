"""Figures, from plain data; nothing needs a display."""

import io

from matplotlib.figure import Figure

from msg.report.figures.dots import Dots, dots
from msg.report.figures.embedding import Chart, embedding, principal_plane, torus
from msg.report.figures.energy import Point, boundaries, front, stacked_bars
from msg.report.figures.panels import Line, Panel, panels
from msg.report.figures.raster import raster
from msg.report.figures.training import Curve, training

__all__ = [
    "Chart",
    "Curve",
    "Dots",
    "Line",
    "Panel",
    "Point",
    "boundaries",
    "dots",
    "embedding",
    "front",
    "panels",
    "principal_plane",
    "raster",
    "stacked_bars",
    "to_png",
    "torus",
    "training",
]


def to_png(figure: Figure) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
