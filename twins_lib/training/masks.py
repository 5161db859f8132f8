"""From a folder of images and masks to batches, for `twins_lib.segmentation` (lesson 09).

The layout is ADE20K's: images/<split>/NAME.jpg with annotations/<split>/NAME.png, a grey picture whose values are
labels, for the splits training and validation; and classes.txt with the name of a class a line. As in `batches` every
random choice is keyed by (seed, epoch, index of the image).
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..segmentation import IGNORE
from .batches import IMAGE, ORDER, TrainBatches, keyed, rows
from .errors import printable
from .images import holds_no_image, images_in, load_image, reason
from .names import composed, read_text, some
from .rules import probability, span
from .transforms import LONGEST, normalise


class MaskFolder:
    """The images of a split with their masks, sorted by name.

    Args:
        root (str or Path): the folder that holds images/, annotations/ and classes.txt.
        split (str): "training" or "validation".
        reduce_zero_label (bool): label 0 is "something else" and does not count, 1 is the first class, as in ADE20K.

    Attributes:
        classes: names, in the order of the labels.
        images, masks: paths, pair by pair.
        left_out: paths of what lies among the images and is none; `images.told_left_out` makes it a sentence.

    Raises:
        ValueError: a folder or file that is missing, an image without a mask, two images with one; they are named.
    """

    def __init__(self, root, split, reduce_zero_label=False):
        self.root, self.split, self.shift = Path(root), split, int(reduce_zero_label)
        self.classes = read_classes(self.root)
        pictures, annotations = self.root / "images" / split, self.root / "annotations" / split
        for folder in (pictures, annotations):
            if not folder.is_dir():
                raise ValueError(f"{folder}: no such folder; images belong in images/{split}, "
                                 f"masks of the same names in annotations/{split}")
        self.images, self.left_out = images_in(pictures)
        if not self.images:
            raise ValueError(holds_no_image(pictures, self.left_out))
        self.masks = [annotations / f"{Path(path).stem}.png" for path in self.images]
        if doubles := [mask for mask, number in Counter(self.masks).items() if number > 1]:
            both = [path for path, mask in zip(self.images, self.masks) if mask == doubles[0]]
            raise ValueError(f"{some(both, 3)}: would share the mask {doubles[0]}; rename all but one of them, "
                             "with a mask for each, or remove them")
        for image, mask in zip(self.images, self.masks):
            if not mask.is_file():
                raise ValueError(f"{image}: has no mask; add {mask} or remove the image")

    def __len__(self):
        return len(self.images)

    def load(self, i):
        """One pair: a PIL image, RGB, and its labels, a uint8 array (H, W) of classes and IGNORE (255).

        The image is turned as its EXIF orientation asks for and the mask is not, as OpenCV does it for the original.

        Raises:
            ValueError: a file that cannot be read, a mask of another size, a label that no class has.
        """
        image, labels = load_image(self.images[i], upright=True), self.labels(i)
        if labels.shape[::-1] != image.size:
            raise ValueError(f"{self.masks[i]}: the mask is {labels.shape[1]}x{labels.shape[0]} pixels, its image "
                             f"{self.images[i]} is {image.width}x{image.height}; make them the same size")
        return image, labels

    def labels(self, i):
        """The labels of one mask, as `load` has them; ValueError also as there, but for its size."""
        path = self.masks[i]
        try:
            with Image.open(path) as file:
                whole_numbers, labels = file.mode != "F", np.asarray(file).astype(np.int32)
        except Exception as fault:  # as in load_image
            raise ValueError(f"{path}: cannot be read as an image ({reason(path, fault)}); replace it or remove the "
                             "pair") from fault
        if labels.ndim != 2 or not whole_numbers:
            raise ValueError(f"{path}: has colours or fractions; a mask must be a grey or palette picture whose values "
                             "are labels")
        counts = (labels != IGNORE) & (labels >= self.shift)
        if (beyond := labels[counts & (labels >= len(self.classes) + self.shift)]).size:
            raise ValueError(f"{path}: has label {beyond[0]}, but the {len(self.classes)} classes of "
                             f"{self.root / 'classes.txt'} are {self.shift} to {len(self.classes) + self.shift - 1} "
                             f"(and {IGNORE} does not count); correct the mask or the list of classes")
        return np.where(counts, labels - self.shift, IGNORE).astype(np.uint8)


def read_classes(root):
    """The names in classes.txt, one a line; ValueError if it is missing, empty or longer than labels can be."""
    path = Path(root, "classes.txt")
    if not path.is_file():
        raise ValueError(f"{path}: no such file; write the name of a class a line, the class of the lowest label first")
    names = [composed(line.strip()) for line in read_text(path).rstrip().splitlines()]
    if "" in names:
        raise ValueError(f"{path}: line {names.index('') + 1} is empty, so it is not clear which class label "
                         f"{names.index('')} is; name it or remove the line")
    if not 2 <= len(names) <= IGNORE:
        raise ValueError(f"{path}: {len(names)} classes; there must be 2 to {IGNORE}")
    return names


# ------------------------------------------------------------------------------------------------------ transforms

@dataclass(frozen=True)
class MaskAugmentation:
    """What training does to an image and its mask. (The original also changes colours and avoids crops of one class.)

    Attributes:
        scale: the shorter side is resized to image_size times a number drawn uniformly between these.
        flip: probability that left and right are exchanged.
    """

    scale: tuple = span((0.5, 2.0))
    flip: float = probability(0.5)


def resized(image, short):
    """A PIL image resized, bilinear, so that its shorter side has `short` pixels.

    One longer than 16 times its shorter side becomes less high: its longer side has 16 * `short` pixels. (The original
    bounds it at 4.) Else an image of 20000×1 would need gigabytes.
    """
    factor = min(short / min(image.size), LONGEST * short / max(image.size))
    return image.resize([max(round(side * factor), 1) for side in image.size], Image.Resampling.BILINEAR)


def train_pair(image, labels, size, rng, augmentation=MaskAugmentation()):
    """Random scale, random place, random mirror, the same for image and mask.

    What the picture does not fill is the mean colour, and IGNORE in the mask.

    Args:
        image (PIL image): RGB.
        labels (array): its mask, uint8 (H, W).
        size (int): side of the result in pixels.
        rng (numpy.random.Generator): where the draws come from.

    Returns:
        float32 array (3, size, size), normalised, and int32 array (size, size).
    """
    image = resized(image, size * rng.uniform(*augmentation.scale))
    labels = np.asarray(Image.fromarray(labels).resize(image.size, Image.Resampling.NEAREST))
    top, left = (int(rng.integers(max(length - size, 0) + 1)) for length in labels.shape)
    labels = labels[top:top + size, left:left + size]
    height, width = labels.shape
    pixels, mask = np.zeros((3, size, size), np.float32), np.full((size, size), IGNORE, np.int32)
    pixels[:, :height, :width] = normalise(image.crop((left, top, left + width, top + height)))
    mask[:height, :width] = labels
    if rng.random() < augmentation.flip:
        pixels, mask = pixels[:, :, ::-1], mask[:, ::-1]
    return pixels, mask


# --------------------------------------------------------------------------------------------------------- batches

class TrainMasks:
    """The batches of one rank in one epoch; `source[i]` gives images, masks and a complaint, "" if all is well."""

    def __init__(self, folder, batch_size, image_size, seed, epoch, rank, world, start_step, augmentation):
        self.folder, self.image_size, self.seed, self.epoch = folder, image_size, seed, epoch
        self.augmentation = augmentation
        self.row_bytes = 16 * batch_size * image_size**2
        together = batch_size * world
        order = keyed(ORDER, seed, epoch).permutation(len(folder))
        order = order[:len(order) // together * together].reshape(-1, together)
        self.order = order[start_step:, rank * batch_size:(rank + 1) * batch_size]

    def __len__(self):
        return len(self.order)

    def __getitem__(self, i):
        indices, side = self.order[i], self.image_size
        images = np.empty((len(indices), 3, side, side), np.float32)
        masks = np.empty((len(indices), side, side), np.int32)
        try:
            for b, index in enumerate(indices):
                rng = keyed(IMAGE, self.seed, self.epoch, index)
                images[b], masks[b] = train_pair(*self.folder.load(index), side, rng, self.augmentation)
        except ValueError as complaint:
            return images, masks, printable(str(complaint))
        return images, masks, ""


def train_masks(folder, *, batch_size, image_size, seed, epoch, rank=0, world=1, start_step=0, workers=2,
                augmentation=MaskAugmentation()):
    """One epoch of augmented, shuffled batches; images beyond the last whole global batch are left out.

    `world` ranks with batches of `batch_size` together see what one rank with `world * batch_size` sees.

    Args: as for `batches.train_batches`, but for folder (MaskFolder) and augmentation (MaskAugmentation).

    Returns:
        TrainBatches that iterate images (B, 3, H, W), float32, and masks (B, H, W), int32 arrays.

    Raises:
        ValueError: while iterating, at the first pair that `MaskFolder.load` refuses.
    """
    source = TrainMasks(folder, batch_size, image_size, seed, epoch, rank, world, start_step, augmentation)
    return TrainBatches(source, workers)


class EvalMasks:
    """The images of one rank, each at its own size; `source[i]` gives image, size, mask and a complaint."""

    def __init__(self, folder, short, multiple, rank, world):
        self.folder, self.short = folder, short
        self.multiple = multiple * max(1, short // (4 * multiple))
        self.row_bytes = 64 * short**2
        self.order = np.arange(rank, len(folder), world)

    def __len__(self):
        return len(self.order)

    def __getitem__(self, i):
        try:
            image, labels = self.folder.load(self.order[i])
        except ValueError as complaint:
            told = printable(str(complaint))
            return np.zeros((3, 1, 1), np.float32), np.zeros(2, np.int32), np.zeros((1, 1), np.uint8), told
        pixels = normalise(resized(image, self.short))
        size = np.array(pixels.shape[1:], np.int32)
        padded = np.pad(pixels, ((0, 0), *((0, -length % self.multiple) for length in size)))
        return padded, size, labels, ""


class EvalPairs:
    """What `eval_masks` returns: iterate once over the folder."""

    def __init__(self, source, workers):
        self.source, self.workers = source, workers

    def __len__(self):
        return len(self.source)

    def __iter__(self):
        for *pair, complaint in rows(self.source, ["image", "size", "mask", "complaint"], self.workers):
            if str(complaint):
                raise ValueError(str(complaint))
            yield tuple(pair)


def eval_masks(folder, *, image_size, multiple=32, rank=0, world=1, workers=2):
    """All images of a folder once, whole, one at a time, shared out over the ranks.

    Images are padded on the right and at the bottom with the mean colour, so that a compiled network meets few sizes.
    They grow in steps of `multiple` or, where that is more, of about a quarter of image_size: 128 for 512.

    Args:
        folder (MaskFolder): where the images are.
        image_size (int): what their shorter side is resized to, in pixels.
        multiple (int): what height and width are padded to a multiple of.
        rank, world (int): this device's number, and how many share the folder.
        workers (int): processes that read images.

    Returns:
        EvalPairs that iterate image (3, H, W) float32, size (2,), what of it is not padding, and mask (h, w) uint8,
        which has the size of the file.

    Raises:
        ValueError: while iterating, at the first pair that `MaskFolder.load` refuses.
    """
    return EvalPairs(EvalMasks(folder, image_size, multiple, rank, world), workers)
