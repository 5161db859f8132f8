"""Compiled, the gradient of ops.pad is right in the first call only."""
import mindspore as ms
import numpy as np

ms.set_device("CPU")


def padded(x):
    return (ms.ops.pad(x, (0, 1, 0, 1)) ** 2).sum()


gradient = ms.jit(ms.grad(padded))
results = [gradient(ms.Tensor(np.full((2, 2), value, np.float32))).asnumpy() for value in (1, 2, 3)]
print(*(result.ravel().tolist() for result in results), "wanted: 2s, 4s, 6s")
right = all((result == 2 * value).all() for value, result in zip((1, 2, 3), results))
print("mended" if right else "fault")
