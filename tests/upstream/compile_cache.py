"""With MS_COMPILER_CACHE_ENABLE=1 the second process, which loads the compiled graph, answers NaN or other numbers."""
import os
import subprocess
import sys
import tempfile

if len(sys.argv) > 1:
    import mindspore as ms
    import numpy as np
    from mindspore import nn

    ms.set_device("CPU")
    ms.set_seed(0)
    cell = nn.SequentialCell(nn.Dense(8, 8), nn.GELU(), nn.Dense(8, 4))
    for p in cell.get_parameters():
        p.set_data(ms.Tensor(np.linspace(-1, 1, p.size, dtype=np.float32).reshape(p.shape)))

    @ms.jit
    def forward(x):
        return cell(x)

    print(forward(ms.Tensor(np.ones((2, 8), np.float32))).asnumpy().ravel().tolist())
else:
    with tempfile.TemporaryDirectory() as folder:
        cached = os.environ | {"MS_COMPILER_CACHE_ENABLE": "1", "MS_COMPILER_CACHE_PATH": folder}
        command = [sys.executable, os.path.abspath(__file__), "cell"]
        answers = [subprocess.run(command, env=cached, cwd=folder, capture_output=True, text=True).stdout
                   for _ in range(2)]
    print(*answers)
    print("mended" if answers[0] and answers[0] == answers[1] else "fault")
