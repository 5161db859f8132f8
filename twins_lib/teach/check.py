"""What all exercise checks share: three kinds of answer, in words.

A check is a function that takes the reader's answer and raises `Wrong("diagnosis")` when it is not right.
The decorator `exercise` turns that into a line that the reader sees.
"""

import functools


class Wrong(Exception):
    """An answer that is not right; the message says what probably happened and where to look."""


def require(condition, diagnosis):
    """Raise `Wrong(diagnosis)` unless the condition holds."""
    if not condition:
        raise Wrong(diagnosis)


def exercise(check):
    """Make a check tell its verdict: not answered yet, a diagnosis, or right.

    The decorated check prints one line and returns "open", "wrong" or "right". An answer is open while it is None,
    contains None, or is a function that still raises NotImplementedError. Any other error of the reader's own
    function is a wrong answer, and the line names it.
    """
    name = check.__name__.replace("_", " ")

    @functools.wraps(check)
    def told(*answer):
        if any(part is None for part in answer):
            return _tell("open", f"… {name}: not answered yet")
        try:
            check(*answer)
        except NotImplementedError:
            return _tell("open", f"… {name}: not answered yet")
        except Wrong as wrong:
            return _tell("wrong", f"✘ {name}: {wrong}")
        except Exception as error:  # the reader's code may fail in any way
            return _tell("wrong", f"✘ {name}: your code stopped with {type(error).__name__}: {error}")
        return _tell("right", f"✔ {name}: right")

    return told


def _tell(verdict, line):
    print(line)
    return verdict
