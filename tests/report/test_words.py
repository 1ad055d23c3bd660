import pytest

from collapselab.report.symbols import mathml, prose, without_marks
from collapselab.report.words import (
    change,
    duration,
    in_plot,
    listed,
    number,
    plain,
    power_of_ten,
    significant,
    wrapped,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (0.123456, "0.123"),
        (-0.25, "−0.25"),
        (1234.4, "1,234"),
        (99999.0, "99,999"),
        (1e5, "1 × 10⁵"),
        (0.00012346, "1.23 × 10⁻⁴"),
        (-2e-12, "−2 × 10⁻¹²"),
        (None, "–"),
    ],
)
def test_number(value, text):
    assert number(value) == text


def test_power_of_ten_raises_sign_and_digits():
    assert power_of_ten(-10) == "10⁻¹⁰"


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        (8.0, 0.08, "100 times smaller"),
        (1.0, 4.0, "4 times larger"),
        (1.0, 1.0, "unchanged"),
        (0.3, 0.0, "gone to exactly 0"),
        (1.05, 1.0, "5.0 % smaller"),
        (0.0, 0.5, "changed by 0.5"),
        (-0.1, -0.3, "changed by −0.2"),
    ],
)
def test_change(first, last, text):
    assert change(first, last) == text


def test_duration():
    assert [duration(s) for s in (1.25, 75, 7265)] == ["1.25 s", "1 min 15 s", "2 h 1 min"]


def test_plain_values_read_as_in_a_configuration():
    values = [None, True, False, 3, 0.05, 2.0, [1, 2.5], {"a": None}, "x", []]
    assert [plain(v) for v in values] == [
        "none",
        "true",
        "false",
        "3",
        "0.05",
        "2",
        "1, 2.5",
        "a: none",
        "x",
        "none",
    ]


def test_long_lists_are_cut():
    assert listed(range(15), most=3) == "0, 1, 2 and 12 more"


def test_significant_keeps_five_digits():
    assert significant(0.000123456789) == 0.00012346
    assert significant(0.0) == 0.0


def test_text_in_figures_cannot_hold_tags():
    assert in_plot("<a href='x'>&") == "&lt;a href='x'&gt;&amp;"
    assert wrapped("one two three four five six seven", 14) == "one two three<br>four five six<br>seven"
    assert "<script" not in wrapped("<script>alert(1)</script>")


def test_mathml_is_made_where_the_formula_is_one():
    assert "<mfrac>" in (mathml(r"\tfrac1K\operatorname{tr}(\Sigma_W\Sigma_B^{+})") or "")


def test_arg_is_a_word_in_mathml():
    found = mathml(r"\arg\max_k z_k") or ""
    assert "arg" in found
    assert "\\" not in found


@pytest.mark.parametrize("symbol", [r"\left(", r"\frac{1}", r"\href{javascript:alert(1)}{x}"])
def test_a_symbol_that_cannot_be_turned_into_mathml_alone_is_left(symbol):
    found = mathml(symbol)
    assert found is None or "href" not in found


def test_mathml_escapes_what_looks_like_html():
    found = mathml("</math><script>alert(1)</script>")
    assert found is None or "<script" not in found


def test_prose_turns_marks_into_html_and_escapes_the_rest():
    text = "`nc1_pinv` of $\\Sigma_W$ <b>"
    html = str(prose(text))
    assert html.startswith("<code>nc1_pinv</code> of <math")
    assert html.endswith("&lt;b&gt;")
    assert without_marks(text) == "nc1_pinv of \\Sigma_W <b>"
