import pytest
from pandas import DataFrame

from msg.report.tables import count, fixed, fixed_all, heading, mean_std, render, significant, std

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
    header, rule, first, _ = render(DataFrame(ROWS), "markdown").splitlines()
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
    assert mean_std([0.5]) == "50.00 ± 0.00"
    assert mean_std([3.0, 5.0], scale=1, digits=1) == "4.0 ± 1.4"
    assert mean_std([]) == "–"
    assert std([2.0]) == 0
