"""Every kind of graph of the project, compiled for Ascend by MindSpore's dry run; and the faults that it must find."""

import json
from collections import Counter
from pathlib import Path

import pytest
from twins_lib.training import ascend, standins
from twins_lib.training.config import load_config
from twins_lib.training.errors import RunError

ROOT = Path(__file__).parents[2]
STORED = json.loads((ROOT / "notebooks/assets/ascend_dry_run.json").read_text())
dry_run = pytest.mark.skipif(bool(standins.missing()) and not standins.real_cann(), reason=standins.missing())

# Networks of two stages and of one; {planted} puts a fault of former days back.
PROGRAM = """\
import dataclasses
from small_images import TINY
from twins_lib import VARIANTS, Variant
from twins_lib.training import engine, graphs, tasks
VARIANTS["twins_svt_tiny"] = TINY
VARIANTS["twins_pcpvt_tiny"] = dataclasses.replace(TINY, windows=None)
VARIANTS["twins_svt_micro"] = Variant((8,), (1,), (2,), (2,), (2,), (3,))
{planted}
graphs.main()
"""
SEPARATE_MESSAGES = """\
def one_by_one(parameters, world):
    reduce, all_reduce = engine.nn.DistributedGradReducer(parameters, mean=True, degree=world), engine.ops.AllReduce()
    return lambda gradients, told: (reduce(gradients), all_reduce(told))
engine._reducer = one_by_one
"""
HALF_NORM = "tasks.in_precision = tasks.ms.amp.auto_mixed_precision"
MICRO = ("model=twins_svt_micro", "batch_size=32")
ALIEN = """\
import json, sys
import twins_lib
import mindspore as ms, numpy as np
from mindspore import ops, Tensor
ms.set_device("Ascend")
@ms.jit
def bessel(x):
    return ops.bessel_y1(x)
@ms.jit
def double(x):
    return ops.matmul(x, x)
bessel(Tensor(np.ones(4, np.float32)))
double(Tensor(np.ones((4, 4), np.float64)))
print(json.dumps({"peak_bytes": 0}))
"""
# All that the device is asked to do for the graphs below. A name that appears or goes is looked at, then written here.
PRIMITIVES = set("""
    Abs AdamApplyOneWithDecayAssign Add AddN AllFinite AllReduce Assign AssignAdd BatchMatMul BiasAdd BiasAddGrad
    BroadcastTo Cast Concat ConditionGather ConditionSwitch Conv2D Conv2DBackpropFilter Conv2DBackpropInput Div Divs
    EqScalar Equal Erf Exp ExpandDims Expm1 GatherD GatherDGradV2 Greater GroupNorm GroupNormGrad IsFinite L2Loss
    LayerNorm LayerNormGrad Log LogSoftmax LogSoftmaxGrad LogicalAnd LogicalNot MaskedFill MatMul Maximum Minimum
    Mul Muls Neg Pad PowTensorScalar ReLU RealDiv Reciprocal ReduceMax ReduceMean ReluGrad RemainderTensorScalar
    Reshape ResizeBilinearGrad ResizeBilinearV2 Select Slice Softmax SoftmaxBackward Sqrt Squeeze Stack StridedSlice
    StridedSliceGrad Sub SumExt TensorMove Tile Transpose Unstack
""".split())


@pytest.fixture(scope="module")
def compile_tiny(tmp_path_factory):
    """A function that compiles the tiny network: settings and what `Graph` takes -> Compiled, once for each."""
    folder = tmp_path_factory.mktemp("ascend")
    common = "output: none\ndata: none\nimage_size: 32\nbatch_size: 4\nprecision: O2\ndrop_path: 0.1\n"
    (folder / "classes.yaml").write_text("model: twins_svt_tiny\n" + common)
    (folder / "masks.yaml").write_text("task: segmentation\nmodel: twins_svt_tiny\nchannels: 8\nhead_channels: 8\n"
                                       + common)

    def compile_tiny(*settings, masks=False, planted="", **options):
        program = folder / "program.py"
        program.write_text(f"import sys\nsys.path.insert(0, {str(ROOT / 'tests')!r})\n"
                           + PROGRAM.replace("{planted}", planted))
        config = folder / ("masks.yaml" if masks else "classes.yaml")
        return ascend.compiled(ascend.Graph(config, settings, classes=5, **options), [str(program)])

    return compile_tiny


@dry_run
@pytest.mark.parametrize("options", [
    dict(settings=("model=twins_pcpvt_tiny",)),
    dict(settings=("precision=O0",)),
    dict(settings=(*MICRO, "accumulate=2", "ema=0.99"), world=8),  # and windows that are padded
    dict(settings=(), evaluate=True),
    dict(settings=(), masks=True),
    dict(settings=(), masks=True, evaluate=True),
], ids=["train pcpvt", "train O0", "rank 3 of 8", "evaluate", "train masks", "evaluate masks"])
def test_a_graph_compiles_for_ascend_without_a_fault(compile_tiny, options):
    settings = options.pop("settings")
    done = compile_tiny(*settings, **options)
    assert done.faults(messages=1) == []
    assert set(done.kernels) <= PRIMITIVES
    assert done.kernels["AllReduce"] == (1 if "world" in options else 0)
    assert done.kernels["LayerNorm"] and done.kernels.total() > 100 and done.peak > 10_000
    assert ("GroupNorm" in done.kernels) == ("masks" in options)


@dry_run
def test_a_kernel_that_ascend_lacks_and_a_float64_are_found(tmp_path):
    (tmp_path / "alien.py").write_text(ALIEN)
    done = ascend.compiled(ascend.Graph("twins_svt_nano"), [str(tmp_path / "alien.py")])
    assert done.faults() == ["BesselY1 would run on the host's CPU", "MatMulExt has float64"]


@dry_run
def test_a_norm_in_float16_is_found(compile_tiny):
    done = compile_tiny(masks=True, evaluate=True, planted=HALF_NORM)
    assert done.faults() == ["GroupNorm has float16"]


@dry_run
def test_gradients_that_are_sent_one_by_one_are_found(compile_tiny):
    done = compile_tiny(*MICRO, world=8, planted=SEPARATE_MESSAGES)
    assert done.kernels["AllReduce"] > 20
    (fault,) = done.faults(messages=1)
    assert fault.endswith("AllReduce kernels where 1 would do: gradients are not joined to few messages")


def test_too_much_memory_is_found():
    done = ascend.Compiled(31 * ascend.GIB, Counter(), (), (), ())
    assert done.faults() == ["31.0 GiB at the peak, more than 30 of 32: set accumulate=2"]


# --------------------------------------------------------------------------------------------- the stored table

@pytest.mark.parametrize("name", ascend.imagenet())
def test_every_shipped_configuration_fits_into_the_device(name):
    (line,) = [line for line in STORED["graphs"] if line["graph"] == name]
    config = load_config(name)
    assert (line["devices"], line["images"], line["accumulate"]) == (8, config.local_batch(8), config.accumulate)
    assert 1 < line["peak_gib"] < ascend.LIMIT / ascend.GIB


@dry_run
def test_the_stored_memory_of_svt_small_is_what_comes_out():
    (line,) = [line for line in STORED["graphs"] if line["graph"] == "twins_svt_small"]
    found, faults = ascend.line_of("twins_svt_small", ascend.Graph("twins_svt_small", world=8), kernels=False)
    assert not faults and found["peak_gib"] == pytest.approx(line["peak_gib"], abs=0.1)


# ----------------------------------------------------------------------------------------- what a user can mend

def without(monkeypatch, *programs):
    which = standins.shutil.which
    monkeypatch.setattr(standins.shutil, "which", lambda name: None if name in programs else which(name))


def test_without_a_compiler_or_on_another_machine_a_sentence_says_so(monkeypatch):
    monkeypatch.setattr(standins, "real_cann", lambda: None)
    with monkeypatch.context() as patch:
        without(patch, "g++")
        with pytest.raises(RunError, match="^a dry run for Ascend needs g\\+\\+, not found here; apt install g\\+\\+$"):
            standins.environment()
    monkeypatch.setattr(standins.platform, "machine", lambda: "aarch64")
    with pytest.raises(RunError, match="made on Linux x86-64 only, and this is Linux aarch64; run it there, or where"):
        standins.environment()


def test_a_wheel_of_another_form_is_named(tmp_path):
    with pytest.raises(RunError, match="libmindspore_ascend.so.2: not there, .*; pip install mindspore==2.10.0$"):
        standins.wanted(tmp_path)


def test_an_installed_cann_is_used_and_told(monkeypatch):
    monkeypatch.setenv("ASCEND_HOME_PATH", "/opt/cann")
    variables, told = standins.environment()
    assert told == "CANN of /opt/cann, as it is installed" and variables["ASCEND_HOME_PATH"] == "/opt/cann"
    assert variables.get("LD_LIBRARY_PATH") == standins.os.environ.get("LD_LIBRARY_PATH")


@dry_run
def test_a_graph_that_does_not_compile_is_told_in_a_sentence():
    with pytest.raises(RunError, match=r"^twins_svt_nano: does not compile .* \(.*batch_size 32: must be .*\)$"):
        ascend.compiled(ascend.Graph("twins_svt_nano", world=7))


@dry_run
def test_symbols_that_have_moved_are_told(monkeypatch, tmp_path):
    """Stand-ins that lack what the wheel asks for: MindSpore's reason comes through."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(standins, "wanted", lambda wheel: ["nothing"])
    monkeypatch.setattr(ascend, "ELSEWHERE", "; this was made for MindSpore 2.10.0, here is 2.11.0")
    with pytest.raises(RunError, match=r"MindSpore finds none here \(.*undefined symbol: .*here is 2.11.0$"):
        ascend.compiled(ascend.Graph("twins_svt_nano", evaluate=True))
