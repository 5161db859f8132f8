"""What happens to one image: the official transforms on PIL images and NumPy arrays, byte for byte (lesson 10).

Every random choice comes from a NumPy generator that the caller hands in.
"""

import math
import re
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from .rules import at_least, probability, setting, share, span

MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet's red, green, blue in [0, 1]
STD = np.array([0.229, 0.224, 0.225], np.float32)
LONGEST = 16  # times its shorter side an image counts; what would come of more is gigabytes large once it is resized
FILL = tuple(round(255 * float(x)) for x in MEAN)  # what comes in where a transform moves the image away


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


def middle(image):
    """The middle of an image that is very long, LONGEST times its shorter side; any other as it is."""
    left, top = (max(0, (side - LONGEST * min(image.size)) // 2) for side in image.size)
    return image.crop((left, top, image.width - left, image.height - top)) if left or top else image


def eval_transform(image, size, crop_pct=0.875):
    """Resize the shorter side to size / crop_pct and cut out the middle.

    Pillow's bicubic is antialiased. MindSpore's own is not (lesson 10 shows stripes).
    Of a very long image only the middle is resized, in which the cut lies.

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
    image = middle(image)
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

def normalise(image, out=None):
    """PIL image or bytes (H, W, 3) -> float32 array (3, H, W): to [0, 1], minus ImageNet's mean, over its deviation.

    `out`, an array of that shape, is what is filled and returned if there is one, such as an image's place in a batch.
    """
    planes = np.asarray(image).transpose(2, 0, 1)
    pixels = np.empty(planes.shape, np.float32) if out is None else out
    pixels[:] = planes
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
        mixup, cutmix, mix_prob, switch_prob, smoothing: of `twins_lib.training.recipe.mixup_cutmix`.
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


OFFICIAL = Augmentation()


def train_transform(image, size, rng, augmentation=OFFICIAL, out=None):
    """All that happens to one training image: PIL RGB -> float32 array (3, size, size), `out` as in `normalise`."""
    a = augmentation
    image = hflip(random_resized_crop(image, size, rng, a.crop_scale, a.crop_ratio), rng, a.flip)
    if a.randaugment:
        image = rand_augment(image, rng, *parse_rand_augment(a.randaugment))
    return random_erasing(normalise(image, out), rng, a.erasing)
