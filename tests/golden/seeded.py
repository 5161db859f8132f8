"""Weights, images and fingerprints that both frameworks make alike from a seed, so that none need be stored."""

import zlib

import numpy as np

PROBES = 4
PROBE_LENGTH = 100_003


def weights(shapes):
    """Random tensors for a network: official parameter name -> float32 array, the same wherever they are made.

    The scales keep the signal alive through all layers and the attention far from uniform.
    """
    return {name: _tensor(name, shape) for name, shape in shapes.items()}


def _tensor(name, shape):
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)
    if name.endswith("bias"):
        return noise * np.float32(0.1)
    if len(shape) == 1:
        return 1 + noise * np.float32(0.1)
    fan_in = int(np.prod(shape[1:]))
    return noise * np.float32(0.8 / np.sqrt(fan_in))


def images(batch, height, width):
    """Random images (batch, 3, height, width), float32, about normal as after normalisation."""
    return np.random.default_rng(height * 1000 + width).standard_normal((batch, 3, height, width), np.float32)


def fingerprint(tensor):
    """Five numbers for a tensor: its norm, then its products with four random vectors.

    For the difference of two tensors the four products have the size of the norm of the difference,
    so equal fingerprints mean equal tensors, not only equal norms.
    """
    flat = np.asarray(tensor, np.float64).reshape(-1)
    probes = (np.random.default_rng(i).standard_normal(PROBE_LENGTH) for i in range(PROBES))
    return np.array([np.linalg.norm(flat)] + [flat @ np.resize(probe, flat.size) for probe in probes])


def relative_difference(found, wanted):
    """How far a tensor is from the reference, relative to the reference's norm, estimated from two fingerprints."""
    return np.sqrt(np.mean((found[1:] - wanted[1:]) ** 2)) / wanted[0]


def initial(shapes):
    """The weights that a training begins with: the official initialisation's sizes, seeded."""
    def one(name, shape):
        noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)
        if name.endswith("bias") or len(shape) == 1:
            return np.full(shape, 0 if name.endswith("bias") else 1, np.float32)
        if len(shape) == 4:
            return noise * np.float32(np.sqrt(2 / np.prod(shape[1:])))
        return noise.clip(-2, 2) * np.float32(0.02)

    return {name: one(name, shape) for name, shape in shapes.items()}


TRAINING = {"epochs": 20, "warmup_epochs": 5, "warmup_lr": 1e-4, "peak_lr": 1e-3, "min_lr": 1e-5, "weight_decay": 0.05,
            "clip_norm": 5.0, "ema": 0.99, "drop_path": 0.2, "batch": 16, "steps": 10}  # steps of an epoch


def batch(step, blocks):
    """A mixed batch of ten learnable classes: images (16, 3, 64, 64), targets (16, 10) and keep (blocks, 2, 16)."""
    size, rng = TRAINING["batch"], np.random.default_rng((7, step))
    patterns = np.random.default_rng(6).standard_normal((10, 3, 8, 8)).repeat(8, -1).repeat(8, -2)
    labels, share = rng.integers(10, size=size), rng.beta(0.8, 0.8)
    images = patterns[labels] + rng.standard_normal((size, 3, 64, 64))
    targets = 0.9 * np.eye(10)[labels] + 0.01
    rates = np.linspace(0, TRAINING["drop_path"], blocks)[:, None, None]
    keep = (rng.random((blocks, 2, size)) >= rates) / (1 - rates)
    mixed = [share * array + (1 - share) * array[::-1] for array in (images, targets)]
    return tuple(np.ascontiguousarray(array, np.float32) for array in (*mixed, keep))
