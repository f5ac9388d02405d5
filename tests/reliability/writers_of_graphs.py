"""Graphs in every layout, from the writers that the tests of :mod:`msg.datasets` share, for tests beside those."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))

from writers import WRITERS, Payload

CARDS = list(WRITERS)


def planted_cards(layout: str, root: Path, monkeypatch: Any) -> Any:
    """Write the graph in a layout into a root; its card is then the only one that is known."""
    from msg.datasets import cards

    card = WRITERS[layout](root)
    monkeypatch.setattr(cards, "_cards", lambda: (card,))
    return card


__all__ = ["CARDS", "Payload", "planted_cards"]
