"""Write a page in which you click a patch and see where it looks: `python -m twins_lib.explorer --help` (lesson 07).

With `--live` the network itself runs in the page, on any picture that is chosen, dropped or drawn there.
"""

import argparse
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from PIL import Image

from .maps.attention import all_blocks
from .model import create_model
from .training.images import load_image
from .training.names import names_kept_with
from .weights import MISFIT, load_weights, write_whole

try:
    from .maps.explorer import MEAN, STD, explorer
    from .maps.live import live_page
except ImportError as error:
    sys.exit(f"error: {error}")


def main(arguments=None):
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m twins_lib.explorer",
        description="Write a page that shows, patch by patch, where a trained Twins looks in an image.")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help=(
        "a picture that Pillow can read; several with --live"))
    parser.add_argument("--live", action="store_true", help=(
        "put a small network itself into the page, which then answers for any picture; it begins with those given"))
    parser.add_argument("--checkpoint", required=True, help="weights: MindSpore .ckpt or PyTorch .safetensors")
    parser.add_argument("--model", default="twins_svt_small", help="the network they are of (%(default)s)")
    parser.add_argument("--num-classes", type=int, default=1000, metavar="N",
                        help="classes it was trained for (%(default)s); with --live they are those of the checkpoint")
    parser.add_argument("--out", default="attention.html", help="the page to write (%(default)s)")
    parser.add_argument("--size", type=int, metavar="PIXELS",
                        help="cut the middle square out and resize it; without it the image is taken as it is, and "
                             "64 pixels with --live")
    parser.add_argument("--grain", type=int, default=32, metavar="PIXELS", help=(
        "with --live: side of the pictures of the training before they were enlarged (%(default)s)"))
    parser.add_argument("--blocks", nargs="+", metavar="STAGE.BLOCK",
                        help="blocks to choose among, counted from 1, such as 1.1 1.2; all if not given")
    parser.add_argument("--head", type=int, help="head shown first, counted from 0; the mean of all if not given")
    colours = {"nargs": 3, "type": float, "metavar": ("R", "G", "B")}
    parser.add_argument("--mean", **colours, default=MEAN,
                        help="what the training took off colours in 0..1 (ImageNet's)")
    parser.add_argument("--std", **colours, default=STD, help="and then divided them by (ImageNet's)")
    options = parser.parse_intermixed_args(arguments)
    if len(options.images) > 1 and not options.live:
        parser.error("give one IMAGE, or --live for a page of several")
    if options.live and (options.blocks or options.head is not None):
        parser.error("a live page shows all blocks and heads; leave out --blocks and --head")
    try:
        print((_live if options.live else _run)(options))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _live(options):
    _check(options)
    if not Path(options.checkpoint).is_file():
        raise ValueError(f"{options.checkpoint}: no such checkpoint")
    classes = names_kept_with(options.checkpoint)
    if not classes:
        raise ValueError(f"{options.checkpoint}: holds no names of classes; take a best.ckpt that this project trained")
    pictures = {Path(path).stem: load_image(path, upright=True) for path in options.images}
    if len(pictures) < len(options.images):
        raise ValueError(f"{' '.join(options.images)}: two have one name, by which the page tells pictures apart; "
                         "rename one")
    model = create_model(options.model, len(classes))
    _load(model, options, len(classes))
    page = live_page(model, classes, pictures, size=options.size or 64, grain=options.grain, mean=options.mean,
                     std=options.std)
    write_whole(options.out, page.encode())
    return (f"{options.out}: {len(page) / 1000:.0f} kB, live on {len(pictures)} of your pictures and any other; "
            "open it in a browser")


def _run(options):
    _check(options)
    picture = _read(options.images[0], options.size)
    model = create_model(options.model, options.num_classes)
    chosen = _chosen(model, options.blocks, options.head)
    _load(model, options, options.num_classes)
    pixels = (picture / 255 - np.array(options.mean)) / np.array(options.std)
    image = ms.Tensor(pixels.transpose(2, 0, 1)[None].astype(np.float32))
    title = f"{options.model} looks at {Path(options.images[0]).name}"
    view = explorer(model, image, chosen, picture, title, options.head)
    view.save(options.out)
    kilobytes = Path(options.out).stat().st_size / 1000
    return f"{options.out}: {kilobytes:.0f} kB, {len(chosen)} blocks; open it in a browser"


def _check(options):
    if min(options.std) <= 0:
        raise ValueError(f"--std {' '.join(f'{value:g}' for value in options.std)}: colours are divided by it; "
                         "give three numbers above 0")
    if not Path(options.out).parent.is_dir():
        raise ValueError(f"{options.out}: there is no folder {Path(options.out).parent}; make it first")


def _load(model, options, classes):
    try:
        load_weights(model, options.checkpoint)
    except ValueError as error:
        if MISFIT not in str(error):
            raise
        raise ValueError(f"{error}; name its network with --model and --num-classes "
                         f"(asked for: {options.model}, {classes})") from None


def _read(path, size):
    picture = load_image(path, upright=True)
    if size is not None:
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.asarray(picture)


def _chosen(model, names, head):
    """Pairs (stage, block) for names such as "1.2"; says which there are if one does not exist."""
    known = {f"{stage + 1}.{block + 1}": (stage, block) for stage, block in all_blocks(model)}
    for name in names or ():
        if name not in known:
            raise ValueError(f"block {name} does not exist: this network has {', '.join(known)}")
    chosen = sorted(known[name] for name in names or known)
    heads = model.variant.heads[chosen[0][0]]
    if head is not None and not 0 <= head < heads:
        raise ValueError(f"head {head} does not exist: stage {chosen[0][0] + 1} has heads 0 to {heads - 1}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
