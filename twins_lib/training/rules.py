"""Rules that values of a setting obey: kept with the fields of a dataclass, checked by `twins_lib.training.config`."""

import os.path
from dataclasses import MISSING, field


def setting(default, holds=None, says="", choices=(), read=str):
    """A field with a rule: `holds(value)` must be true, `says` is how the rule reads, `read` makes text the value."""
    return field(default=default, metadata={"holds": holds, "says": says, "choices": choices, "read": read})


def location(default=MISSING):
    """A path; "~" at its beginning is the home of a user, as in a shell, and never the name of a folder."""
    return setting(default, lambda path: path.strip() and not path.startswith("~") or path == default,
                   "must name a place (~ is your home, ~name that of a user; ./~name is a folder called so)",
                   read=os.path.expanduser)


def at_least(low, default):
    return setting(default, lambda value: value >= low, f"must be at least {low}")


def above(low, default):
    return setting(default, lambda value: value > low, f"must be above {low}")


def share(default):
    """A number in [0, 1)."""
    return setting(default, lambda value: 0 <= value < 1, "must be at least 0 and below 1")


def probability(default):
    """A number in [0, 1]."""
    return setting(default, lambda value: 0 <= value <= 1, "must be at least 0 and at most 1")


def span(default, high=float("inf")):
    """A pair (least, greatest) of positive numbers up to `high`."""
    limit = "" if high == float("inf") else f", at most {high}"
    return setting(default, lambda pair: 0 < pair[0] <= pair[1] <= high,
                   f"must be [least, greatest], both above 0{limit}, the smaller first")


def one_of(choices, default=MISSING):
    return setting(default, lambda value: value in choices, f"must be one of {', '.join(choices)}", tuple(choices))
