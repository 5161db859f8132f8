"""The shape ledger: a table of every tensor's shape, in letters and in numbers, that is checked while it is written."""

import html
import math


class Ledger:
    """Rows of (what it is, its shape in letters, its shape in numbers), each asserted when entered.

    The letters are the course's alphabet (B, C, H, W, N, M, h, d, w, r). An axis may be a product, "C·p·p".

    Args:
        **sizes (int): the numbers that the letters stand for.
    """

    def __init__(self, **sizes):
        self.sizes = sizes
        self.rows = []

    def enter(self, what, letters, tensor):
        """Check a tensor's shape against its letters and add the row.

        Args:
            what (str): the name of the tensor in the lesson.
            letters (str): one product of letters and numbers an axis, separated by spaces: "B N C·p·p".
            tensor: anything with a shape.

        Returns:
            The tensor, so that entering can stand in the middle of a computation.

        Raises:
            AssertionError: the shape is another; both are named.
            KeyError: a letter whose number is not known.
        """
        promised = tuple(self._number(axis) for axis in letters.split())
        found = tuple(tensor.shape)
        assert found == promised, f"{what}: ({letters}) promises {promised}, but the tensor is {found}"
        self.rows.append((what, f"({letters.replace(' ', ', ')})", str(found)))
        return tensor

    def _number(self, axis):
        return math.prod(int(part) if part.isdigit() else self.sizes[part] for part in axis.split("·"))

    def __repr__(self):
        rows = [("tensor", "letters", "numbers"), *self.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows)

    def _repr_html_(self):
        head = "<tr>" + "".join(f'<th style="text-align:left">{t}</th>' for t in ("tensor", "letters", "numbers"))
        body = "".join(
            "<tr>" + "".join(f'<td style="text-align:left">{html.escape(text)}</td>' for text in row) + "</tr>"
            for row in self.rows)
        return f"<table>{head}</tr>{body}</table>"
