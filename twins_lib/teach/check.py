"""What all exercise checks share: three kinds of answer, in words.

A check is a function that takes the reader's answer and raises `Wrong("diagnosis")` when it is not right.
The decorator `exercise` turns that into a line that the reader sees.
"""

import functools

from . import progress


class Wrong(Exception):
    """An answer that is not right; the message says what probably happened and where to look."""


def require(condition, diagnosis):
    """Raise `Wrong(diagnosis)` unless the condition holds."""
    if not condition:
        raise Wrong(diagnosis)


def exercise(check):
    """Make a check tell its verdict in one line: not answered yet, a diagnosis, or right.

    An answer is open while it is None or a function that still raises NotImplementedError; of several, as long as one
    of them is None, and the line counts them. Any other error of the reader's own function is a wrong answer, and the
    line names it. The decorated check prints its line and, if the
    answer is right, has it noted (see `progress`); its `judge` returns (verdict, line) instead, the verdict being
    "open", "wrong" or "right". Its `counts` says that it is an exercise of the lesson.
    """
    name = check.__name__.replace("_", " ")

    def judge(*answer):
        given = sum(part is not None for part in answer)
        if 0 < given < len(answer):
            return "open", f"… {name}: {given} of {len(answer)} answered, the rest is still None"
        try:
            if not given:
                raise NotImplementedError
            check(*answer)
        except NotImplementedError:
            return "open", f"… {name}: not answered yet"
        except Wrong as wrong:
            return "wrong", f"✘ {name}: {wrong}"
        except Exception as error:  # the reader's code may fail in any way
            return "wrong", f"✘ {name}: your code stopped with {type(error).__name__}: {error}"
        return "right", f"✔ {name}: right"

    @functools.wraps(check)
    def tell(*answer):
        verdict, line = judge(*answer)
        print(line)
        if verdict == "right" and tell.counts:
            progress.note(tell)

    tell.judge, tell.counts = judge, True
    return tell
