"""The tools that the lessons share."""

import numpy as np
import pytest

from twins_lib import teach
from twins_lib.teach.check import exercise, require


@exercise
def double_it(function):
    require(function(2) == 4, "2 must become 4")


def test_an_open_answer_is_not_wrong():
    def stub(x):
        raise NotImplementedError

    assert double_it.judge(None) == double_it.judge(stub) == ("open", "… double it: not answered yet")


def test_half_an_answer_is_counted():
    @exercise
    def two_numbers(first, second):
        require((first, second) == (1, 2), "other numbers")

    assert two_numbers.judge(1, None) == ("open", "… two numbers: 1 of 2 answered, the rest is still None")
    assert two_numbers.judge(None, None) == ("open", "… two numbers: not answered yet")
    assert two_numbers.judge(1, 2)[0] == "right"


def test_a_wrong_answer_gets_its_diagnosis():
    assert double_it.judge(lambda x: x + 1) == ("wrong", "✘ double it: 2 must become 4")


def test_an_answer_that_fails_is_told_its_error():
    verdict, line = double_it.judge(lambda x: x / 0)
    assert verdict == "wrong" and "ZeroDivisionError: division by zero" in line


def test_a_right_answer_gets_its_tick(capsys):
    assert double_it(lambda x: 2 * x) is None
    assert capsys.readouterr().out == "✔ double it: right\n"


def test_ledger_holds_the_shapes():
    ledger = teach.Ledger(B=2, N=6, C=3, p=4)
    tokens = np.zeros((2, 6, 48))
    assert ledger.enter("patches", "B N C·p·p", tokens) is tokens
    assert repr(ledger).splitlines()[1] == "patches  (B, N, C·p·p)  (2, 6, 48)"
    assert "<td" in ledger._repr_html_()


def test_ledger_names_both_shapes_when_they_differ():
    with pytest.raises(AssertionError, match=r"patches: \(B C\) promises \(2, 3\), but the tensor is \(3, 2\)"):
        teach.Ledger(B=2, C=3).enter("patches", "B C", np.zeros((3, 2)))


@pytest.mark.parametrize("guess, told", [
    (None, "No guess yet"), (100, "You said just that"), (50, "less by a factor of 2"),
    (400, "more by a factor of 4"), (0, "You said 0."),
])
def test_compare_says_how_far_the_guess_was(guess, told, capsys):
    teach.compare(guess, 100, "tokens")
    out = capsys.readouterr().out
    assert out.startswith("The answer: 100 tokens.") and told in out


def test_a_figure_without_alt_text_is_refused():
    with pytest.raises(ValueError, match="needs an alt text"):
        teach.show(None, " ")


def test_the_photograph_is_there_offline():
    image = teach.photo(64)
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8 and image.std() > 30
