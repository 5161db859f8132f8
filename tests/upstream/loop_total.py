"""Compiled, a total that is summed up in a loop with += begins the next call with what it had."""
import mindspore as ms
import numpy as np

ms.set_device("CPU")


@ms.jit
def norm(*arrays):
    total = ms.Tensor(0.0, ms.float32)
    for array in arrays:
        total += (array * array).sum()
    return total


arrays = [ms.Tensor(np.ones(3, np.float32)) for _ in range(4)]
results = [float(norm(*arrays).asnumpy()) for _ in range(3)]
print(results, "wanted: 12.0 three times")
print("mended" if results == [12.0] * 3 else "fault")
