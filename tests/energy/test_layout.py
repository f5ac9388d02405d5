from msg.energy.layout import energy, heading, number, stacked_bars, table

ROWS = [("a", "bb"), ("long", "1")]


def test_text_is_aligned():
    assert table(ROWS, markdown=False).splitlines() == ["a     bb", "--------", "long   1"]


def test_markdown():
    assert table(ROWS, markdown=True).splitlines() == ["| a | bb |", "| --- | ---: |", "| long | 1 |"]
    assert heading("x", markdown=True) == "## x"
    assert heading("x", markdown=False) == "x\n="


def test_numbers():
    assert number(12345) == "12,345"
    assert energy(0.012345) == "0.0123"
    assert energy(12345.6) == "12,346"


def test_nothing_to_draw_is_an_empty_panel():
    figure = stacked_bars({"none": {"model": {}}})
    assert figure.axes[0].get_title() == "none"
    assert not figure.axes[0].patches
