"""What the user of a command can mend: errors of one sentence, and how a command tells them."""

import re
import sys


class RunError(RuntimeError):
    """A run that cannot start or go on, told in one sentence."""


class ConfigError(ValueError):
    """A setting that cannot be; the message is meant for the person who wrote it."""


class NonFiniteLoss(RunError):
    """The loss or the gradients of a step are infinite or not a number."""


def printable(text):
    """One line that every terminal, log and library can carry.

    What is not UTF-8 in a file's name, line breaks and other signs without a shape become escapes: \\udce9, \\n.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda sign: repr(sign[0])[1:-1], text)


def telling_line(said):
    """The line of a program's errors that says most: the last sentence of `run`, the last exception, or the last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = [line for line in lines if re.match(r"error: |(\w+\.)*\w*Error: ", line)]
    return (told or lines or ["it said nothing"])[-1].removeprefix("error: ")


def run(main, arguments=None):
    """Call a program's `main`: what the user can mend is one sentence and exit code 2, a lost loss exit code 1.

    A terminal that knows ASCII only (LANG=C) is sent escapes for other signs.
    """
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        main(arguments)
    except NonFiniteLoss as fault:
        print(f"stopped: {printable(str(fault))}", file=sys.stderr)
        sys.exit(1)
    except (ConfigError, RunError, ValueError, OSError) as fault:
        print(f"error: {printable(str(fault))}", file=sys.stderr)
        sys.exit(2)
