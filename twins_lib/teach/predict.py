"""Predict, then run: a guess written down before the answer is seen."""


def compare(guess, answer, unit=""):
    """Print the answer beside what the reader had guessed.

    Args:
        guess (float or None): the reader's number; None if none was written down.
        answer (float): the true number, computed in the lesson.
        unit (str): what is counted.
    """
    told = f"{answer:,.4g}" if isinstance(answer, float) else f"{answer:,}"
    line = f"The answer: {told} {unit}".rstrip() + "."
    if guess is None:
        print(line, "(No guess yet; a wrong one teaches more than none.)")
    elif guess == answer:
        print(line, "You said just that.")
    elif answer and guess > 0 < answer:
        ratio = max(guess / answer, answer / guess)
        print(line, f"You said {guess:,}, {'more' if guess > answer else 'less'} by a factor of {ratio:.2g}.")
    else:
        print(line, f"You said {guess:,}.")
