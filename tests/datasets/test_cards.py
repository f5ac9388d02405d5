from pathlib import Path

import pytest

from msg.datasets import available, cards, get_card
from msg.datasets.cards import markdown_table

REPOSITORY = Path(__file__).parents[2]


def test_manifest_lists_every_graph_once():
    keys = [card.key for card in available()]
    assert len(keys) == len(set(keys)) == 30
    assert keys[0] == "digits"
    folders = [card.folder for card in available() if card.folder]
    assert len(folders) == len(set(folders)) == 23


@pytest.mark.parametrize("card", available(), ids=lambda card: card.key)
def test_card_is_complete(card):
    assert card.format in ("generated", "npz", "planetoid", "ogb", "tu")
    assert card.metric in ("accuracy", "roc_auc")
    assert (card.edges is None) != (card.raw_edges is None) or card.format == "tu"
    assert card.graphs is not None or card.format != "tu"
    assert (card.format == "generated") == (not card.folder) == (not card.files)
    assert all(len(digest) in (0, 64) for digest in card.files.values())
    assert len(card.content_hash) in (0, 64)
    if card.format == "planetoid":
        assert all(card.files.values()), "pickles need a checksum"


def test_names_are_forgiving_about_case_and_hyphens():
    assert get_card("Photo").key == "photo"
    assert get_card("chameleon_filtered") is get_card("Chameleon-Filtered")
    assert get_card("Disease-LP").key == "disease_lp"


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"'photos'.*digits.*photo.*ogbn-products"):
        get_card("photos")


def test_manifest_in_a_wheel_lies_beside_the_module(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "__file__", str(tmp_path / "msg" / "datasets" / "cards.py"))
    assert cards.manifest_path() == tmp_path / "datasets" / "manifest.toml"
    packaged = tmp_path / "msg" / "datasets" / "manifest.toml"
    packaged.parent.mkdir(parents=True)
    packaged.touch()
    assert cards.manifest_path() == packaged


def test_readme_is_in_step_with_the_manifest():
    assert markdown_table() in (REPOSITORY / "datasets" / "README.md").read_text(encoding="utf-8")
