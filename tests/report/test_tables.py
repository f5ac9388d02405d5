import pytest

from msg.report.tables import called, count, fixed, fixed_all, heading, mean_std, render, significant, std
from msg.report.width import fitting

ROWS = [{"a": "long", "b_c": "1,234"}, {"a": "x", "b_c": "0.2500"}]


def test_text_is_aligned_and_cells_are_as_given():
    header, rule, *lines = render(ROWS).splitlines()
    assert [header.split(), *(line.split() for line in lines)] == [["a", "b_c"], ["long", "1,234"], ["x", "0.2500"]]
    assert {len(line) for line in (header, rule, *lines)} == {len(rule)}
    assert set(rule) == {"-", " "}


def test_a_cell_has_several_lines():
    lines = render([{"a": "x", "b": "1\n2"}]).splitlines()
    assert [line.split() for line in lines[2:]] == [["x", "1"], ["2"]]


def test_markdown():
    header, rule, first, _ = render(ROWS, "markdown").splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == ["a", "b_c"]
    assert [cell.strip("-") for cell in rule.strip("|").split("|")] == [":", ":"]
    assert rule.endswith("-:|")
    assert first.replace(" ", "") == "|long|1,234|"


def test_latex():
    text = render([{"a_b": "5 %", "c": mean_std([0.5, 0.6])}], "latex")
    for expected in (r"\toprule", r"a\_b", r"5 \%", r"55.00 $\pm$ 7.07 \\"):
        assert expected in text


def test_unknown_style():
    with pytest.raises(ValueError, match="unknown style 'html': use 'text', 'markdown', 'latex'"):
        render(ROWS, "html")  # pyright: ignore


def test_headings():
    assert heading("x") == "x\n="
    assert heading("x", "markdown") == "## x"
    assert heading("x", "latex") == r"\subsection*{x}"


def test_numbers():
    assert count(12345) == "12,345"
    assert significant(0.012345) == "0.0123"
    assert significant(12345.6) == "12,346"
    assert [significant(None), fixed(None, 2), fixed(0.125, 4)] == ["–", "–", "0.1250"]
    assert fixed_all([None, 0.5], 2) == "– 0.50"
    assert fixed_all([], 2) == "–"


def test_mean_and_standard_deviation():
    assert mean_std([0.5, 0.6]) == "55.00 ± 7.07"
    assert mean_std([0.5]) == "50.00"
    assert mean_std([3.0, 5.0], scale=1, digits=1) == "4.0 ± 1.4"
    assert mean_std([]) == "–"
    assert std([2.0]) == 0


WIDE = [
    {
        "rule": rule, "time steps T": str(steps), "test accuracy, %": "93.42 ± 0.46", "seconds per epoch": "0.12",
        "peak memory, MB": "1,234", "cosine to surrogate BPTT, before training": "0.123", "note": "a few words of it",
    }
    for rule in ("dvm", "bptt") for steps in (5, 15)
]  # fmt: skip


def lines(text):
    return max(map(len, text.splitlines()))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_tables_fit_a_screen(width):
    whole = render(WIDE)
    with fitting(width):
        text = render(WIDE)
    assert lines(text) <= width
    assert text == whole if lines(whole) <= width else text != whole
    words = sorted(word for row in WIDE for cell in row.values() for word in cell.split())
    assert set(words) <= set(text.split())
    parts = text.split("\n\n")
    # each part says which row is which: two columns tell them apart
    if len(parts) > 1 and width >= 60:
        for part in parts:
            assert [line.split()[:2] for line in part.splitlines()[-4:]] == [
                [row["rule"], row["time steps T"]] for row in WIDE
            ]


def test_headers_are_broken_before_a_table_is_cut():
    rows = [{"": "one", "a header of many words": "1", "another one of them": "2"}]
    with fitting(30):
        text = render(rows)
    assert lines(text) <= 30
    assert text.count("one") == 2  # the row, and a word of a header: there is one table
    with fitting(200):
        assert "a header of many words" in render(rows)


def test_long_cells_are_broken_at_spaces():
    with fitting(30):
        text = render([{"what": "x", "why": "because of this and that and all the rest"}])
    assert lines(text) <= 30
    assert " ".join(text.split()).endswith("and all the rest")


def test_other_styles_are_as_wide_as_they_are():
    with fitting(20):
        assert render(WIDE, "markdown").count("\n") == len(WIDE) + 1


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(999.7, 3, "1,000"), (999.4, 3, "999"), (1234.5, 3, "1,234"), (123.4, 2, "123"), (0.0012345, 3, "0.00123")],
)
def test_so_many_digits_and_no_power_of_ten(value, digits, text):
    assert significant(value, digits) == text


def test_metrics_have_the_names_that_people_use():
    assert [called(name) for name in ("accuracy", "roc_auc", "mrr")] == ["accuracy", "ROC-AUC", "mean reciprocal rank"]
    assert [called(name, short=True) for name in ("average_precision", "mrr", "mine")] == ["AP", "MRR", "mine"]
