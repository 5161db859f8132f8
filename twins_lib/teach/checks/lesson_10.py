"""Checks of lesson 10, ImageNet and Ascend training. Each knows the usual wrong answers and says what happened."""

import numpy as np

from ..check import exercise, require

# Some names and shapes of a network, and one that a rule by shape alone gets wrong.
_SHAPES = {
    "patch_embeds.0.proj.weight": (16, 3, 4, 4), "patch_embeds.0.proj.bias": (16,),
    "patch_embeds.0.norm.gamma": (16,), "patch_embeds.0.norm.beta": (16,), "blocks.0.0.norm1.gamma": (16,),
    "blocks.0.0.attn.qkv.weight": (48, 16), "blocks.0.0.attn.qkv.bias": (48,), "blocks.0.1.mlp.fc1.weight": (64, 16),
    "blocks.0.1.attn.sr.weight": (16, 16, 4, 4), "blocks.0.1.attn.norm.beta": (16,), "norm.gamma": (96,),
    "pos_block.0.proj.0.weight": (16, 1, 3, 3), "pos_block.0.proj.0.bias": (16,), "head.weight": (4, 96),
    "head.bias": (4,), "odd.bias": (4, 4),
}


@exercise
def big_run(batch, peak, steps):
    """64 devices with 32 ImageNet images each."""
    require(batch != 32, "32 is one device's share; a step trains on all devices' images")
    require(batch != 96, "every device has its own 32 images: multiply")
    require(batch == 2048, f"{batch} images: how many devices, with how many each?")
    require(abs(peak - 5e-4) > 1e-9, "5e-4 is the rate for 512 images; scale it to this batch")
    require(abs(peak - 5e-4 * 32 / 512) > 1e-9, "that scales by one device's images; the rule counts those of all")
    require(abs(peak - 2e-3) < 1e-9, f"the peak {peak}: 5e-4 for every 512 images of a step")
    require(steps != 626 and abs(steps - 625.57) > 0.01, "whole batches only: what remains at the end is left out")
    require(steps != 1_281_167 // 32, "a step uses up the images of all devices, not of one")
    require(steps == 625, f"{steps} steps: how often do the images of a step fit into 1,281,167?")


@exercise
def sharded_accuracy(repeated, points):
    """50,000 images on 64 devices, each with equally many."""
    require(repeated != 16, "16 images are left over after 781 for each device; but all 64 get one more")
    require(repeated != 64, "not every device gets a repeated image: 16 real ones are left to hand out first")
    require(repeated == 48, f"{repeated}: find the next multiple of 64 above 50,000")
    right, exact = 0.817 * 50_000, 81.7
    require(abs(points - (right + 48) / 50_000 * 100 + exact) > 1e-6, "the repeated images are in the denominator, too")
    require(abs(points - 48 / 50_048 * 100) > 1e-6,
            "that would be so if all the others stayed as they are: 48 images now dilute what was wrong, not all")
    require(abs(points - ((right + 48) / 50_048 - 0.817)) > 1e-9, "that is a share; a point is a hundredth")
    wanted = (right + 48) / 50_048 * 100 - exact
    require(abs(points - wanted) < 5e-4, f"{points} points: (right answers + 48) / 50,048 against 81.7 %")


@exercise
def decayed_names(function):
    """The official rule of weight decay, from names and shapes."""
    found = function(dict(_SHAPES))
    require(isinstance(found, (list, tuple, set)), "return the names, a list of them")
    found = set(found)
    require(found <= set(_SHAPES), f"{sorted(found - set(_SHAPES))[:1]}: is no name among those given")
    wanted = {name for name, shape in _SHAPES.items()
              if len(shape) > 1 and not name.endswith(".bias") and "pos_block" not in name}
    require(found != set(_SHAPES) - wanted, "those are the ones that are spared; the others decay")
    require("pos_block.0.proj.0.weight" not in found, "the PEG decays in yours; its weight has four axes: ask the name")
    require("odd.bias" not in found, "odd.bias has two axes and is a bias all the same: ask the name as well")
    require("norm.gamma" not in found, "a norm's gamma decays in yours; its name does not tell, its shape does")
    require(not any(len(_SHAPES[name]) == 1 for name in found), "something with a single axis decays in yours")
    missing = sorted(wanted - found)
    require(not missing, f"{missing[:1]} should decay")


def _share(batch, rank, world):
    half, end = batch // 2, batch * world
    return [*range(rank * half, (rank + 1) * half), *range(end - (rank + 1) * half, end - rank * half)]


@exercise
def share(function):
    """The positions of the global batch that a device trains on."""
    batch, world = 4, 3
    found = [list(map(int, function(batch, rank, world))) for rank in range(world)]
    every = [position for one in found for position in one]
    require(all(len(one) == batch for one in found), f"device 0 gets {len(found[0])} images instead of {batch}")
    require(min(every) >= 0 and max(every) < batch * world, "a position is outside 0 … batch · world − 1")
    require(found != [list(range(rank * batch, (rank + 1) * batch)) for rank in range(world)],
            "blocks one after the other part the pairs: image 0 would meet its partner on another device")
    require(found != [list(range(rank, batch * world, world)) for rank in range(world)],
            "every third image: image 0 is with device 0, but image 11, its partner, is with device 2")
    require(len(set(every)) == len(every), "some image is trained on by two devices, and another by none")
    require(all({batch * world - 1 - i for i in one} == set(one) for one in found),
            "a pair is parted: with image i a device must have image batch · world − 1 − i")
    require(all(sorted(found[rank]) == _share(batch, rank, world) for rank in range(world)),
            "the pairs are together; but device 0 has both ends, device 1 what comes next, and so on")
    six = [list(map(int, function(6, rank, 2))) for rank in range(2)]
    require(all(sorted(six[rank]) == _share(6, rank, 2) for rank in range(2)), "right for 4 images, not for 6")
    require(all(i + j == 11 for one in six for i, j in zip(one, one[::-1])),
            "the images are right; but a device mixes its first with its last, so partners must stand there")


_NUMBERS = {"n": 64, "b": 256, "compute_rate": 253.0, "input_rate": 200.0, "P": 24_060_776, "bandwidth": 12.5e9,
            "latency": 55e-6}


def _seconds(n, b, compute_rate, input_rate, P, bandwidth, latency):
    return b / compute_rate, b / input_rate, 2 * (n - 1) / n * 4 * P / bandwidth + 2 * (n - 1) * latency


@exercise
def step_seconds(function):
    """Compute, input and all-reduce seconds of a step."""
    found = function(**_NUMBERS)
    require(np.shape(found) == (3,), "return three numbers: compute, input, all-reduce")
    wanted, n = _seconds(**_NUMBERS), _NUMBERS["n"]
    waited = 2 * (n - 1) * _NUMBERS["latency"]
    sent = wanted[2] - waited
    for name, one, right in zip(("compute", "input"), found, wanted):
        require(not np.isclose(one, right * n), f"{name}: each device does only its own b images, all at once")
        require(not np.isclose(one, 1 / right), f"{name}: that is steps a second, the inverse")
        require(np.isclose(one, right), f"{name}: b images at so many a second, not {one:.4g} s")
    require(not np.isclose(found[2], sent / 4 + waited), "all-reduce: a parameter has 4 bytes")
    require(not np.isclose(found[2], sent), "all-reduce: the latency of the messages is missing")
    require(not np.isclose(found[2], waited), "all-reduce: the bytes are missing")
    require(not np.isclose(found[2], sent / 2 + waited), "all-reduce: a ring is walked twice, to add up and to tell")
    require(np.isclose(found[2], wanted[2]), f"all-reduce: {found[2]:.4g} s; compare with the formula term by term")


@exercise
def longest_part(part):
    """Which part of the step is the longest."""
    require(part in ("compute", "input", "all-reduce"), 'answer "compute", "input" or "all-reduce"')
    require(part != "compute", "computing takes 256/253 s; one of the others takes longer")
    require(part != "all-reduce", "the bytes take 15 ms and the messages 7; now look at 256/200 s")
