"""What the user of a command can mend: errors of one sentence, and how a command tells them."""

import sys


class RunError(RuntimeError):
    """A run that cannot start or go on, told in one sentence."""


class ConfigError(ValueError):
    """A setting that cannot be; the message is meant for the person who wrote it."""


class NonFiniteLoss(RunError):
    """The loss or the gradients of a step are infinite or not a number."""


def run(main, arguments=None):
    """Call a program's `main`: what the user can mend is one sentence and exit code 2, a lost loss exit code 1."""
    try:
        main(arguments)
    except NonFiniteLoss as fault:
        print(f"stopped: {fault}", file=sys.stderr)
        sys.exit(1)
    except (ConfigError, RunError, ValueError, OSError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        sys.exit(2)
