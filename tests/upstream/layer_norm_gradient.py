"""The gradient of LayerNorm runs on one core of a machine that has several (to be tried where nothing else runs)."""
import os
import time

import mindspore as ms
import numpy as np

ms.set_device("CPU")
C, rows = 256, 100_000
gamma, beta = ms.Tensor(np.ones(C, np.float32)), ms.Tensor(np.zeros(C, np.float32))
layer_norm = ms.ops.LayerNorm(-1, -1, 1e-6)


def normed(x):
    return layer_norm(x, gamma, beta)[0].sum()


gradient = ms.jit(ms.grad(normed))
x = ms.Tensor(np.random.default_rng(0).standard_normal((rows, C), np.float32))
gradient(x).asnumpy()
wall, processor = time.perf_counter(), time.process_time()
for _ in range(5):
    gradient(x).asnumpy()
wall, processor = time.perf_counter() - wall, time.process_time() - processor
print(f"{1000 * wall / 5:.0f} ms, {processor / wall:.2f} of {len(os.sched_getaffinity(0))} cores busy")
print("fault" if processor < 1.3 * wall else "mended")
