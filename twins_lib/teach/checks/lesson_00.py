"""Checks of lesson 00, start here."""

from numbers import Integral

from ..check import exercise, require


@exercise
def tokens_on_a_grid(count):
    """Tokens on a grid of 7×7."""
    require(count != 14, "14 is 7 + 7; a grid has rows times columns")
    require(count == 49, f"{count} is not the number of squares on a board of 7×7")


tokens_on_a_grid.counts = False   # the lesson itself answers it, to show the three replies


@exercise
def grid_of_stage_3(side):
    """Side of stage 3's grid at 384 pixels."""
    require(side != 14, "that is stage 3 for an image of 224 pixels; this one has 384")
    require(side != 96, "that is stage 1; two more stages halve it")
    require(side not in (48, 12), "one halving too few or too many: stage 3 has a stride of 16 pixels")
    require(side == 24, f"{side}: divide 384 by 4 for stage 1, then by 2 for each later stage")


@exercise
def shape_of_stage_4(shape):
    """(B, C, H, W) of stage 4 of Twins-SVT-S for 8 images of 64×96."""
    shape = tuple(shape)
    require(len(shape) == 4, f"{len(shape)} numbers; (B, C, H, W) has four")
    require(shape != (8, 512, 3, 2), "rows come before columns: 64 is the height")
    require(shape != (8, 2, 3, 512), "channels come second in (B, C, H, W), not last")
    require(shape[0] == 8, f"B is the number of images, 8, not {shape[0]}")
    require(shape[1] == 512, f"C is {shape[1]}; look at the last map of the photograph")
    require(shape == (8, 512, 2, 3), f"the grid is {shape[2]}×{shape[3]}; stage 4 has one token for 32×32 pixels")


@exercise
def grids(function):
    """The grids of all stages for any image."""
    for height, width in ((224, 224), (64, 96), (320, 32)):
        found = [tuple(grid) for grid in function(height, width)]
        wanted = [(height // s, width // s) for s in (4, 8, 16, 32)]
        require(len(found) == 4, f"{len(found)} grids; there are four stages")
        require(all(isinstance(side, Integral) for grid in found for side in grid),
                "a count of tokens is a whole number: use // instead of /")
        require(height == width or found != [grid[::-1] for grid in wanted],
                f"rows and columns are swapped for {height}×{width}")
        require(found == wanted, f"for an image of {height}×{width} you give {found}; the strides are 4, 8, 16 and 32")
