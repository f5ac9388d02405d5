"""What the gallery shows of a script: the matplotlib figures that a block made, whether or not pyplot knows them."""

from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst


def scrape(block: tuple, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the block's new figures and return the reStructuredText that shows them."""
    shown = block_vars.setdefault("_shown", set())
    paths = []
    for figure in block_vars["example_globals"].values():
        if isinstance(figure, Figure) and figure not in shown:
            path = next(block_vars["image_path_iterator"])
            figure.savefig(path, dpi=110)
            shown.add(figure)
            paths.append(path)
    return figure_rst(paths, gallery_conf["src_dir"])
