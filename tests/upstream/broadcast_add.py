"""In a compiled function each Add that broadcasts holds four buffers of its output's size until the call ends."""
import mindspore as ms
import numpy as np

ms.set_device("CPU")


def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1e6  # GB


@ms.jit
def add(x, b):
    for _ in range(20):
        x = x + b
    return x[:1, :1]


x, b = ms.Tensor(np.ones((100_000, 250), np.float32)), ms.Tensor(np.ones(250, np.float32))  # x: 0.1 GB
before = peak()
add(x, b).asnumpy()
buffers = (peak() - before) / 0.1 / 20
print(f"{buffers:.1f} buffers for each Add")
print("fault" if buffers > 2 else "mended")
