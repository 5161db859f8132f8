"""Two processes under each launcher: the same training as one, and a clear end when one of them dies."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_images import write_config, write_images

from twins_lib.training import distributed
from twins_lib import train as train_program
from twins_lib.training import tasks
from twins_lib.training.checkpoints import read_checkpoint
from twins_lib.training.errors import run

pytestmark = pytest.mark.usefixtures("tiny")

ROOT = Path(__file__).parents[2]
needs_mpirun = pytest.mark.skipif(not shutil.which("mpirun"), reason="needs mpirun: make mpirun")

# Rank 1 does something to itself at a given draw; then the program goes on as it would for a user.
PROGRAM = """\
import os, signal, sys
from small_images import TINY
from twins_lib import VARIANTS, train
from twins_lib.training import tasks
from twins_lib.training.errors import run
VARIANTS["twins_svt_tiny"] = TINY
number, epoch, step = (int(word) for word in sys.argv.pop(1).split(","))
original = tasks.keyed
rank = os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("MS_NODE_ID"))
def keyed(*key):
    if key == (tasks.PATHS, 0, epoch, step) and rank == "1" and os.environ.get("MS_ROLE") != "MS_SCHED":
        os.kill(os.getpid(), number)
    return original(*key)
tasks.keyed = keyed
run(train.main)
"""


EVALUATE = """\
from small_images import TINY
from twins_lib import VARIANTS, eval
from twins_lib.training.errors import run
VARIANTS["twins_svt_tiny"] = TINY
run(eval.main)
"""


# With less patience than a user has, so that the test is short.
IMPATIENT = """\
from small_images import TINY
from twins_lib import VARIANTS, train
from twins_lib.training import distributed
from twins_lib.training.errors import run
VARIANTS["twins_svt_tiny"], distributed.PATIENCE = TINY, 3
run(train.main)
"""


# The chip of rank 1 saturates: its gradients are finite, and only its status register says that they are wrong.
SATURATED = """\
import numpy as np
import twins_lib
import mindspore as ms
from mindspore import amp, nn, Tensor
from twins_lib.training.distributed import start
from twins_lib.training.engine import TrainStep
from twins_lib.training.recipe import AdamW, parameter_groups

class Linear(nn.Cell):
    def __init__(self):
        super().__init__()
        self.weight = ms.Parameter(np.ones(2, np.float32), name="weight")
    def construct(self, rows):
        return (self.weight * rows.mean(0)).sum()

rank, world = start()
if rank == 1:
    amp.all_finite = lambda gradients: Tensor(False)
model = Linear()
step = TrainStep(model, AdamW(parameter_groups(model, 0.0)), scaled=True, mode="pynative", world=world)
step([(np.ones((2, 2), np.float32),)], 0.1)
print("rank", rank, "weight", model.weight.asnumpy().tolist(), "scale", step.scaler.scale_value.asnumpy())
"""


def mpirun(*words):
    return ["mpirun", "-n", "2", "--oversubscribe", "--bind-to", "none", sys.executable, *words]


def msrun(logs, *words):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [str(Path(sys.executable).with_name("msrun")), "--worker_num=2", "--local_worker_num=2", "--join=True",
            f"--master_port={port}", f"--log_dir={logs}", "python", *words]


def launch(command, seconds=240, **settings):
    """What was said, and the exit code; `settings` are environment variables."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMPI_ALLOW_RUN_AS_ROOT": "1",
                   "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                   # Workers that knock before the scheduler listens knock again after 1 s, not after 3 to 5.
                   "MS_RETRY_INTERVAL_LOWER": "1", "MS_RETRY_INTERVAL_UPPER": "1", **settings}
    environment.pop("GLOG_v", None)  # what msrun itself says is told as to a user
    process = subprocess.Popen([str(word) for word in command], env=environment, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        return process.communicate(timeout=seconds)[0], process.returncode
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def alive(words):
    """Processes that run with `words` in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if words in (folder / "cmdline").read_bytes().decode(errors="replace"):
                found.append(folder.name)
        except OSError:  # ended while we looked
            continue
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Images, a program whose rank 1 hurts itself, and the arrays that a single process trains to."""
    root = tmp_path_factory.mktemp("distributed")
    write_images(root / "data")
    (root / "hurt.py").write_text(PROGRAM)
    return root


@pytest.fixture(scope="module")
def single(root):
    run(train_program.main, ["--config", str(write_config(root)), f"output={root / 'single'}"])
    return newest(root / "single")


def newest(folder):
    return read_checkpoint(sorted((folder / "checkpoints").iterdir())[-1])[0]


def assert_close(arrays, others):
    """Equal but for the order in which gradients are added up."""
    assert arrays.keys() == others.keys()
    for name in arrays:
        assert np.allclose(arrays[name], others[name], atol=2e-6), (name, np.abs(arrays[name] - others[name]).max())


@needs_mpirun
def test_two_stopped_through_one_and_resumed_by_one_equal_one(root, single):
    config, output = write_config(root), root / "mpi"
    said, code = launch(mpirun(root / "hurt.py", f"{signal.SIGTERM.value},1,1", "--config", config, f"output={output}"))
    assert code == 0, said
    assert "stopped as asked in epoch 1 after step 2 of 3" in said and said.count("starting") == 1
    assert not alive("twins_lib.training.distributed")
    run(train_program.main, ["--config", str(config), f"output={output}", "--resume"])
    assert_close(newest(output), single)


@needs_mpirun
def test_mpirun_ends_all_when_one_dies(root):
    begin = time.monotonic()
    said, code = launch(mpirun(root / "hurt.py", f"{signal.SIGKILL.value},1,1", "--config", write_config(root),
                               f"output={root / 'dies'}"), 120)
    assert code != 0 and "rank 1" in said and "signal 9" in said, said
    saved = (root / "dies" / "checkpoints" / "epoch-0001-step-000000.safetensors").stat().st_mtime
    assert time.time() - saved < 60 and time.monotonic() - begin < 120
    time.sleep(1)
    assert not alive("twins_lib.training.distributed") and not alive(str(root / "hurt.py"))


def test_msrun_ends_all_when_one_dies_and_one_goes_on(root, single):
    config, output = write_config(root), root / "ms"
    words = ["--config", config, f"output={output}"]
    said, code = launch(msrun(root / "logs", root / "hurt.py", f"{signal.SIGKILL.value},1,1", *words),
                        MS_NODE_TIMEOUT="10")  # silence after which the scheduler gives a process up; else 30 s
    assert code != 0 and "exit with exception. Error code: -9" in said, said
    assert "Error: a process is gone, so the run is over" in said, said
    saved = (output / "checkpoints" / "epoch-0001-step-000000.safetensors").stat().st_mtime
    assert time.time() - saved < 60 and not alive(str(root / "hurt.py"))
    run(train_program.main, [str(word) for word in words] + ["--resume"])
    assert_close(newest(output), single)


def test_one_stopped_and_resumed_by_two_equals_one(root, single, monkeypatch):
    config, output = write_config(root), root / "grows"

    def stop_in_the_second_epoch(*key, original=tasks.keyed):
        if key == (tasks.PATHS, 0, 1, 1):
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*key)

    monkeypatch.setattr("twins_lib.training.tasks.keyed", stop_in_the_second_epoch)
    run(train_program.main, ["--config", str(config), f"output={output}"])
    assert sorted((output / "checkpoints").iterdir())[-1].name == "epoch-0001-step-000002.safetensors"
    said, code = launch(msrun(root / "growing", root / "hurt.py", f"{signal.SIGTERM.value},99,0", "--config", config,
                              f"output={output}", "--resume"))
    assert code == 0, said
    assert_close(newest(output), single)
    lines = (output / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["processes"] for line in lines] == [1, 2, 2]


def test_unreadable_images_of_both_processes_are_each_named_once(root, single, tmp_path):
    write_images(tmp_path / "data")
    bad = [tmp_path / "data" / "val" / name for name in ("blue/0.png", "green/2.png")]  # of rank 0 and of rank 1
    for path in bad:
        path.write_bytes(path.read_bytes()[:200])
    (tmp_path / "evaluate.py").write_text(EVALUATE)
    said, code = launch(msrun(tmp_path / "logs", tmp_path / "evaluate.py", "--config", write_config(tmp_path),
                              "--checkpoint", root / "single" / "best.ckpt", "--batch-size", "4"))
    told = "".join(path.read_text() for path in sorted((tmp_path / "logs").glob("worker_*.log")))
    assert code == 0, said
    assert [told.count(f"left out: {path}: cannot be read") for path in bad] == [1, 1], told
    assert told.count("on 7 images, 2 unreadable") == 1, told


def test_all_leave_a_step_out_when_the_chip_of_one_knows_of_an_overflow(tmp_path):
    (tmp_path / "saturated.py").write_text(SATURATED)
    said, code = launch(msrun(tmp_path / "logs", tmp_path / "saturated.py"))
    assert code == 0, said
    told = "".join(path.read_text() for path in sorted((tmp_path / "logs").glob("worker_*.log")))
    assert all(f"rank {rank} weight [1.0, 1.0] scale 32768.0" in told for rank in (0, 1)), told


def test_no_launcher_is_one_process(monkeypatch):
    for name in ("MS_ROLE", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert distributed.start() == (0, 1)
    assert distributed.sum_over_processes([1, 2], 1).tolist() == [1, 2]
    assert [distributed.texts_of_all(text, 0, 1) for text in ("", "ä\nb", "\udce9")] == [[""], ["ä\nb"], ["\udce9"]]


def test_ranks_read_the_port_that_rank_0_announces(tmp_path, monkeypatch):
    port = distributed._announce_port(tmp_path / "port")
    assert distributed._read_port(tmp_path / "port") == port and 1024 <= int(port) <= 65535
    monkeypatch.setattr(distributed, "PATIENCE", 0.1)
    with pytest.raises(RuntimeError, match="rank 0 has not started"):
        distributed._read_port(tmp_path / "nothing")


@pytest.mark.parametrize("listens", [True, False])
def test_a_port_that_another_program_has_ends_the_start_and_is_named(root, listens):
    (root / "impatient.py").write_text(IMPATIENT)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if listens:
            other.listen()
        address = "{}:{}".format(*other.getsockname())
        command = [word if not word.startswith("--master_port") else f"--master_port={other.getsockname()[1]}"
                   for word in map(str, msrun(root / f"logs{listens}", root / "impatient.py"))]
        said, code = launch([*command, "--config", write_config(root), f"output={root / 'none'}"], seconds=100)
    assert code != 0
    assert f"error: the processes do not meet at {address} within 3 seconds" in said
    assert f"Error: {address} is taken by another program" in said + (root / f"logs{listens}/scheduler.log").read_text()
    assert not (root / "none").exists() and not alive("impatient.py")
