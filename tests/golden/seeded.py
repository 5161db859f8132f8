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
