"""In a compiled function each Transpose holds two buffers of its output's size until the call ends."""
import mindspore as ms
import numpy as np

ms.set_device("CPU")


def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1e6  # GB


@ms.jit
def turn(x):
    for _ in range(20):
        x = x.transpose(1, 0)
        x = ms.ops.tanh(x)
    return x[:1, :1]


x = ms.Tensor(np.ones((5000, 5000), np.float32))  # 0.1 GB
before = peak()
turn(x).asnumpy()
buffers = (peak() - before) / 0.1 / 20
print(f"{buffers:.1f} buffers for each pair of Transpose and Tanh")
print("fault" if buffers > 1.5 else "mended")
