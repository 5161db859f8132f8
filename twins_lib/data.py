"""From a folder of images to batches: the official transforms on PIL and NumPy, fed by `mindspore.dataset` (lesson 10).

A folder holds one folder a class, as ImageNet's `train/<wnid>/*.JPEG`. Every random choice is keyed: an image's by
(seed, epoch, its index), a batch's mix by (seed, epoch, step). So neither the number of workers, nor the number of
devices that share the global batch, nor a restart in the middle of an epoch changes a byte of what is trained on.
"""

import math
import os
import re
import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mindspore.dataset as ds
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from .recipe import mixup_cutmix
from .rules import at_least, probability, setting, share, span

MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet's red, green, blue in [0, 1]
STD = np.array([0.229, 0.224, 0.225], np.float32)
FILL = tuple(round(255 * float(x)) for x in MEAN)  # what comes in where a transform moves the image away
EXTENSIONS = (".jpg", ".jpeg", ".png")


# ---------------------------------------------------------------------------------------------------- folders

class ImageFolder:
    """The images of a folder with one folder a class; folders and files that begin with a dot are left out.

    Args:
        root (str or Path): the folder.

    Attributes:
        classes: names of the class folders, sorted.
        paths: the images (.jpg, .jpeg, .png in any case), sorted within each class.
        labels: int32 array, the index in `classes` of every path.

    Raises:
        ValueError: the folder is missing, has no class folder, or a class folder holds no image.
    """

    def __init__(self, root):
        self.root = Path(root)
        if not self.root.is_dir():
            raise ValueError(f"{root}: no such folder; give the folder that holds one folder a class")
        self.classes = sorted(entry.name for entry in visible(self.root) if entry.is_dir())
        if not self.classes:
            raise ValueError(f"{root}: holds no class folder; images belong in {root}/<class>/")
        self.paths, labels = [], []
        for label, name in enumerate(self.classes):
            found = images_in(self.root / name)
            if not found:
                raise ValueError(f"{self.root / name}: holds no .jpg, .jpeg or .png; fill or remove the class folder")
            self.paths += found
            labels += [label] * len(found)
        self.labels = np.array(labels, np.int32)

    def __len__(self):
        return len(self.paths)


def visible(folder):
    """Entries of a folder whose names do not begin with a dot."""
    return [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]


def images_in(folder):
    """Paths of the images in a folder, sorted."""
    return sorted(entry.path for entry in visible(folder) if entry.name.lower().endswith(EXTENSIONS))


def check_same_classes(train, val):
    """Raise ValueError, naming the classes, if two ImageFolders do not have the same ones."""
    only_train, only_val = (sorted(set(a.classes) - set(b.classes)) for a, b in ((train, val), (val, train)))
    if only_train or only_val:
        sides = [f"only in {folder.root}: {', '.join(names[:5])}{' and more' * (len(names) > 5)}"
                 for folder, names in ((train, only_train), (val, only_val)) if names]
        raise ValueError(f"class folders differ ({'; '.join(sides)}); labels would not agree")


def load_image(path):
    """Read an image as RGB, whatever it is stored as: grey, palette, CMYK, with alpha or 16 bits.

    Alpha is dropped and CMYK converted as Pillow does it; of 16-bit grey the upper 8 bits are kept, as
    Pillow keeps them of 16-bit RGB.

    Raises:
        ValueError: naming the file, if it cannot be read to its end.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):
                return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
            return image.convert("RGB")
    except Exception as fault:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise ValueError(f"{path}: cannot be read as an image ({fault}); replace or remove the file") from fault


# ------------------------------------------------------------------------------- transforms on PIL images, bytes

def random_resized_crop(image, size, rng, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)):
    """Cut out a random rectangle and resize it to a square.

    Args:
        image (PIL image): RGB.
        size (int): side of the result, in pixels.
        rng (numpy.random.Generator): where the draws come from.
        scale (tuple): smallest and largest share of the area, drawn uniformly.
        ratio (tuple): smallest and largest width / height, drawn uniformly in its logarithm.

    Returns:
        PIL image, size × size, bicubic.
    """
    left, top, width, height = crop_box(image.size, rng, scale, ratio)
    return image.crop((left, top, left + width, top + height)).resize((size, size), Image.Resampling.BICUBIC)


def crop_box(image_size, rng, scale, ratio):
    """Draw left, top, width, height: ten tries, then the largest centred rectangle of an allowed ratio."""
    W, H = image_size
    for _ in range(10):
        area = W * H * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= W and 0 < height <= H:
            top, left = rng.integers(H - height + 1), rng.integers(W - width + 1)
            return int(left), int(top), width, height
    width, height = min(W, round(H * ratio[1])), min(H, round(W / ratio[0]))
    return (W - width) // 2, (H - height) // 2, width, height


def hflip(image, rng, prob=0.5):
    """Mirror left and right with probability `prob`."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < prob else image


def eval_transform(image, size, crop_pct=0.875):
    """Resize the shorter side to size / crop_pct and cut out the middle.

    Pillow's bicubic is antialiased. MindSpore's own is not, and costs the released weights about half a point.

    Args:
        image (PIL image): RGB.
        size (int): side of the result, in pixels.
        crop_pct (float): in (0, 1]; 0.875 makes 256 → 224.

    Returns:
        PIL image, size × size.
    """
    if not 0 < crop_pct <= 1:
        raise ValueError(f"crop_pct {crop_pct}: must be above 0 and at most 1")
    short = math.floor(size / crop_pct)
    W, H = image.size
    width, height = (short, int(short * H / W)) if W <= H else (int(short * W / H), short)
    left, top = round((width - size) / 2), round((height - size) / 2)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    return image.crop((left, top, left + size, top + size))


# ----------------------------------------------------------- RandAugment (arXiv 1909.13719) in timm's "increasing" form

def _affine(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=FILL)


def _rotate(image, degrees):
    return image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=FILL)


def _posterize(image, bits):
    mask = 256 - 2 ** (8 - bits)  # Pillow 13 refuses 0 bits, which magnitude 10 asks for: a black image
    return image.point([v & mask for v in range(256)] * 3)


def _solarize_add(image, add):
    return image.point([min(255, v + add) if v < 128 else v for v in range(256)] * 3)


def _enhance(kind, image, change):
    return kind(image).enhance(1 + change)


# name: (function of the image and a strength, the strength at magnitude 10, whether its sign is drawn).
# Posterize and solarize grow as the bits that are kept, and the threshold, fall.
OPERATIONS = {
    "AutoContrast": (lambda image, _: ImageOps.autocontrast(image), 0, False),
    "Equalize": (lambda image, _: ImageOps.equalize(image), 0, False),
    "Invert": (lambda image, _: ImageOps.invert(image), 0, False),
    "Rotate": (_rotate, 30, True),
    "Posterize": (lambda image, lost: _posterize(image, 4 - int(lost)), 4, False),
    "Solarize": (lambda image, lower: ImageOps.solarize(image, 256 - int(lower)), 256, False),
    "SolarizeAdd": (lambda image, add: _solarize_add(image, int(add)), 110, False),
    "Color": (partial(_enhance, ImageEnhance.Color), 0.9, True),
    "Contrast": (partial(_enhance, ImageEnhance.Contrast), 0.9, True),
    "Brightness": (partial(_enhance, ImageEnhance.Brightness), 0.9, True),
    "Sharpness": (partial(_enhance, ImageEnhance.Sharpness), 0.9, True),
    "ShearX": (lambda image, share: _affine(image, 1, share, 0, 0, 1, 0), 0.3, True),
    "ShearY": (lambda image, share: _affine(image, 1, 0, 0, share, 1, 0), 0.3, True),
    "TranslateX": (lambda image, share: _affine(image, 1, 0, share * image.width, 0, 1, 0), 0.45, True),
    "TranslateY": (lambda image, share: _affine(image, 1, 0, 0, 0, 1, share * image.height), 0.45, True),
}


RAND_AUGMENT = re.compile(r"rand-m(\d+)(?:-n(\d+))?(?:-mstd(\d+(?:\.\d+)?))?-inc1")
RAND_AUGMENT_FORM = 'must look like "rand-m9-mstd0.5-inc1" or "rand-m9-n3-mstd0.5-inc1"'


def parse_rand_augment(text):
    """Read timm's notation, such as "rand-m9-mstd0.5-inc1".

    Returns:
        magnitude (m), its standard deviation (mstd), operations an image (n, 2 unless said).

    Raises:
        ValueError: another form; "inc1", operations that all grow with the magnitude, is the only one built here.
    """
    found = RAND_AUGMENT.fullmatch(text)
    if not found:
        raise ValueError(f"randaugment {text!r}: {RAND_AUGMENT_FORM}")
    magnitude, number, deviation = found.groups()
    return float(magnitude), float(deviation or 0), int(number or 2)


def rand_augment(image, rng, magnitude=9.0, deviation=0.5, number=2):
    """Apply `number` operations drawn with replacement, each with probability 0.5.

    Args:
        image (PIL image): RGB.
        rng (numpy.random.Generator): where the draws come from.
        magnitude, deviation (float): the magnitude is drawn from this normal distribution and kept in [0, 10].
        number (int): operations drawn.

    Returns:
        PIL image of the same size; what moves in from outside has ImageNet's mean colour.
    """
    for name in rng.choice(list(OPERATIONS), number):
        if rng.random() < 0.5:
            operation, at_10, signed = OPERATIONS[name]
            strength = min(max(rng.normal(magnitude, deviation), 0), 10) / 10 * at_10
            image = operation(image, -strength if signed and rng.random() < 0.5 else strength)
    return image


# ------------------------------------------------------------------------------------- transforms on float32 arrays

def normalise(image):
    """PIL image (H, W) RGB -> float32 array (3, H, W): to [0, 1], minus ImageNet's mean, over its deviation."""
    pixels = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1), np.float32)
    pixels /= np.float32(255)
    pixels -= MEAN[:, None, None]
    pixels /= STD[:, None, None]
    return pixels


def random_erasing(pixels, rng, prob=0.25, area=(0.02, 1 / 3), aspect=(0.3, 1 / 0.3)):
    """Replace a random rectangle by normal noise (arXiv 1708.04896, timm's mode "pixel"), after `normalise`.

    Args:
        pixels (array): (C, H, W), float32; changed in place.
        rng (numpy.random.Generator): where the draws come from.
        prob (float): probability that anything is erased.
        area (tuple): smallest and largest share of the image, drawn uniformly.
        aspect (tuple): smallest and largest height / width, drawn uniformly in its logarithm.

    Returns:
        pixels.
    """
    C, H, W = pixels.shape
    if rng.random() >= prob:
        return pixels
    for _ in range(10):
        target = rng.uniform(*area) * H * W
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        height, width = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if height < H and width < W:
            top, left = rng.integers(H - height + 1), rng.integers(W - width + 1)
            noise = rng.standard_normal((C, height, width), np.float32)
            pixels[:, top:top + height, left:left + width] = noise
            return pixels
    return pixels


@dataclass(frozen=True)
class Augmentation:
    """What training does to an image and to a batch; the values are the official ones.

    Attributes:
        crop_scale, crop_ratio: of `random_resized_crop`.
        flip: probability of `hflip`.
        randaugment: notation of `parse_rand_augment`; empty for none.
        erasing: probability of `random_erasing`.
        mixup, cutmix, mix_prob, switch_prob, smoothing: of `twins_lib.recipe.mixup_cutmix`.
    """

    crop_scale: tuple = span((0.08, 1.0), high=1)
    crop_ratio: tuple = span((3 / 4, 4 / 3))
    flip: float = probability(0.5)
    randaugment: str = setting("rand-m9-mstd0.5-inc1", lambda text: not text or RAND_AUGMENT.fullmatch(text),
                               RAND_AUGMENT_FORM + ', or be empty: ""')
    erasing: float = probability(0.25)
    mixup: float = at_least(0, 0.8)
    cutmix: float = at_least(0, 1.0)
    mix_prob: float = probability(1.0)
    switch_prob: float = probability(0.5)
    smoothing: float = share(0.1)

    def __post_init__(self):
        if self.randaugment:
            parse_rand_augment(self.randaugment)


def train_transform(image, size, rng, augmentation=Augmentation()):
    """All that happens to one training image: PIL RGB -> float32 array (3, size, size)."""
    a = augmentation
    image = hflip(random_resized_crop(image, size, rng, a.crop_scale, a.crop_ratio), rng, a.flip)
    if a.randaugment:
        image = rand_augment(image, rng, *parse_rand_augment(a.randaugment))
    return random_erasing(normalise(image), rng, a.erasing)


# ------------------------------------------------------------------------------------------------------- batches

ORDER, IMAGE, MIX = 1, 2, 3  # what a key is for


def keyed(*key):
    """The generator of a key: the same draws wherever and whenever they are made."""
    return np.random.default_rng(key)


class TrainSource:
    """The batches of one rank in one epoch; `source[i]` gives images, targets and a complaint, "" if all is well."""

    def __init__(self, folder, batch_size, image_size, seed, epoch, rank, world, start_step, augmentation):
        self.folder, self.image_size, self.seed, self.epoch = folder, image_size, seed, epoch
        self.start_step, self.augmentation = start_step, augmentation
        self.row_bytes = 12 * batch_size * image_size**2
        together = batch_size * world
        order = keyed(ORDER, seed, epoch).permutation(len(folder))
        order = order[:len(order) // together * together].reshape(-1, together)
        # Mixing pairs the first image of a batch with its last, and so on inwards. A rank takes both ends of the
        # global batch, so the pairs are the same however many ranks share it.
        half = batch_size // 2
        first, last = rank * half, together - rank * half
        self.order = order[start_step:, np.r_[first:first + half, last - half:last]]

    def __len__(self):
        return len(self.order)

    def __getitem__(self, i):
        a, indices = self.augmentation, self.order[i]
        images = np.empty((len(indices), 3, self.image_size, self.image_size), np.float32)
        try:
            for image, index in zip(images, indices):
                rng = keyed(IMAGE, self.seed, self.epoch, index)
                image[:] = train_transform(load_image(self.folder.paths[index]), self.image_size, rng, a)
        except ValueError as complaint:
            return images, np.zeros(0, np.float32), str(complaint)
        rng = keyed(MIX, self.seed, self.epoch, self.start_step + i)
        return *mixup_cutmix(images, self.folder.labels[indices], len(self.folder.classes), rng, a.mixup, a.cutmix,
                             a.mix_prob, a.switch_prob, a.smoothing), ""


class EvalSource:
    """The batches of one rank; `source[i]` gives images, labels, which of them are real, and complaints, one a line."""

    def __init__(self, folder, batch_size, image_size, crop_pct, rank, world):
        self.folder, self.image_size, self.crop_pct = folder, image_size, crop_pct
        self.row_bytes = 12 * batch_size * image_size**2
        together = batch_size * world
        steps = -(-len(folder) // together)
        self.order = np.arange(steps * together).reshape(steps, world, batch_size)[:, rank]

    def __len__(self):
        return len(self.order)

    def __getitem__(self, i):
        indices, complaints = self.order[i], []
        images = np.zeros((len(indices), 3, self.image_size, self.image_size), np.float32)
        labels, valid = np.zeros(len(indices), np.int32), np.zeros(len(indices), bool)
        for b, index in enumerate(indices[indices < len(self.folder)]):
            try:
                image = load_image(self.folder.paths[index])
            except ValueError as complaint:
                complaints.append(str(complaint))
                continue
            images[b] = normalise(eval_transform(image, self.image_size, self.crop_pct))
            labels[b], valid[b] = self.folder.labels[index], True
        return images, labels, valid, "\n".join(complaints)


class Boxed:
    """A source whose rows are packed in a dict: MindSpore passes arrays through /dev/shm, but dicts through a pipe."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, i):
        return {"row": self.source[i]}


def rows(source, columns, workers):
    """Yield the rows of a source in order, made ahead of time by `workers` processes (a thread for 0 or 1)."""
    workers = min(max(workers, 1), os.cpu_count())  # MindSpore refuses more
    # Each holds four rows. Other ranks may want as much, and whoever finds /dev/shm full is killed.
    boxed = workers * 4 * source.row_bytes > free_shared_memory() / 16
    before = ds.config.get_prefetch_size()
    ds.config.set_prefetch_size(2)  # rows are whole batches; read when the first one is asked for
    dataset = ds.GeneratorDataset(Boxed(source) if boxed else source, ["row"] if boxed else columns, shuffle=False,
                                  num_parallel_workers=workers, python_multiprocessing=workers > 1)
    iterator = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
    try:
        for row in iterator:
            yield row[0]["row"] if boxed else row
    finally:
        ds.config.set_prefetch_size(before)
        iterator.stop()


def free_shared_memory():
    """Bytes free in /dev/shm; containers often have 64 MB in all."""
    try:
        return shutil.disk_usage("/dev/shm").free
    except FileNotFoundError:
        return 0


class TrainBatches:
    """What `train_batches` returns: iterate for one epoch; `len()` is the number of batches that remain in it."""

    def __init__(self, source, workers):
        self.source, self.workers = source, workers

    def __len__(self):
        return len(self.source)

    def __iter__(self):
        for images, targets, complaint in rows(self.source, ["images", "targets", "complaint"], self.workers):
            if str(complaint):
                raise ValueError(str(complaint))
            yield images, targets


def train_batches(folder, *, batch_size, image_size, seed, epoch, rank=0, world=1, start_step=0, workers=2,
                  augmentation=Augmentation()):
    """One epoch of augmented, mixed, shuffled batches; images beyond the last whole global batch are left out.

    `world` ranks with batches of `batch_size` together see what one rank with `world * batch_size` sees.

    Args:
        folder (ImageFolder): where the images are.
        batch_size (int): B, images a step on this rank, even.
        image_size (int): H = W in pixels.
        seed, epoch (int): what all draws are keyed by, at least 0.
        rank, world (int): this device's number, and how many share the epoch.
        start_step (int): batches of this epoch that have been trained on already.
        workers (int): processes that make batches, one a core at most; 0 or 1 makes them in a thread of this process.
        augmentation (Augmentation): what is done to them.

    Returns:
        TrainBatches that iterate images (B, 3, H, W) and targets (B, classes), float32 arrays.

    Raises:
        ValueError: an odd batch, fewer images than one global batch, or, while iterating, an unreadable image.
    """
    if batch_size < 2 or batch_size % 2:
        raise ValueError(f"batch_size {batch_size}: must be even and at least 2, because images are mixed in pairs")
    if len(folder) < batch_size * world:
        raise ValueError(f"{folder.root}: {len(folder)} images do not fill one batch of {batch_size * world}; "
                         "use a smaller batch_size")
    source = TrainSource(folder, batch_size, image_size, seed, epoch, rank, world, start_step, augmentation)
    return TrainBatches(source, workers)


class EvalBatches:
    """What `eval_batches` returns: iterate once over the folder; `unreadable` then lists a sentence a bad image."""

    def __init__(self, source, workers, strict):
        self.source, self.workers, self.strict = source, workers, strict
        self.unreadable = []

    def __len__(self):
        return len(self.source)

    def __iter__(self):
        self.unreadable = []
        columns = ["images", "labels", "valid", "complaints"]
        for images, labels, valid, complaints in rows(self.source, columns, self.workers):
            self.unreadable += str(complaints).splitlines()
            if self.strict and self.unreadable:
                raise ValueError(self.unreadable[0])
            yield images, labels, valid


def eval_batches(folder, *, batch_size, image_size, crop_pct=0.875, rank=0, world=1, workers=2, strict=False):
    """All images of a folder once, in batches of one shape, shared out over the ranks.

    Args:
        folder (ImageFolder): where the images are.
        batch_size (int): B, images a step on this rank.
        image_size (int): H = W in pixels.
        crop_pct (float): of `eval_transform`.
        rank, world (int): this device's number, and how many share the folder.
        workers (int): processes that make batches, one a core at most; 0 or 1 makes them in a thread of this process.
        strict (bool): raise on an unreadable image instead of leaving it out.

    Returns:
        EvalBatches that iterate images (B, 3, H, W) float32, labels (B,) int32 and valid (B,) bool. Rows that are
        not valid are zeros: they fill the last batches, or stand for an unreadable image of this rank, which
        `unreadable` names.

    Raises:
        ValueError: if strict, while iterating, at the first unreadable image.
    """
    return EvalBatches(EvalSource(folder, batch_size, image_size, crop_pct, rank, world), workers, strict)


def throughput(folder, image_size, batch_size, workers, seconds):
    """Training images a second that `workers` can make, measured for at least `seconds` after the first batch."""
    images, epoch, begin = -batch_size, 0, None
    while True:
        for _ in train_batches(folder, batch_size=batch_size, image_size=image_size, seed=0, epoch=epoch,
                               workers=workers):
            begin = begin or time.perf_counter()
            images += batch_size
            if images and time.perf_counter() - begin >= seconds:
                return images / (time.perf_counter() - begin)
        epoch += 1
