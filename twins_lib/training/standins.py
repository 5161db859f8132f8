"""Stand-ins for CANN, with which MindSpore's dry run compiles for Ascend on a Linux machine without device (lesson 10).

MindSpore's Linux wheel holds the whole compiler for Ascend, and its dry run (`MS_SIMULATION_LEVEL=1`) never calls the
device. But the Ascend libraries of the wheel do not load unless those of CANN are there. Here `nm` finds what they ask
for, and `g++` makes one library in which every such function does nothing; the names of CANN's libraries link to it.
"""

import ctypes
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from .errors import RunError

# What the wheel's Ascend libraries load, and what they open by name once they run.
LINKED = ("ge_runner", "graph", "ascendcl", "msprofiler", "hccl", "runtime", "platform", "c_sec")
OPENED = ("opapi", "nnopbase", "ascend_hal", "acl_tdt_channel", "acl_op_compiler")
ASKING = ("libmindspore_ascend.so.2", "libmindspore_ops_ascend.so", "ascend/libmindspore_ascend_res_manager.so",
          "ascend/libd_collective.so", "ascend/libmindspore_graph_ir.so")
LOOKED_UP = re.compile(rb"\0((?:acl|Hccl|rt[A-Z]|hal[A-Z])\w+|\w+(?:HugeMem|PTACache|HashKey)\w*)(?=\0)")
# These return an object of C++ in memory that the caller hands over; it must be empty, not whatever was there before.
RETURNS_OBJECT = re.compile(
    r"_ZN.*CreateOperator|_ZNK2ge(?:10TensorDesc8GetShape|6Tensor13GetTensorDesc|5Shape7GetDims)Ev")
CONSTRUCTS = re.compile(r"_ZN2ge\d+(?:AscendString|Shape|TensorDesc|Tensor)C[12]")
MADE_FOR = "2.10.0"  # the MindSpore whose wheel was studied
SOC = "Ascend910B1"  # the processor of an Atlas 800T A2
HCCL = "9.1.0"  # the newest CANN that MindSpore 2.10.0 accepts

SOURCE = """\
#include <map>
#include <string>
struct Object { void *fields[8]; ~Object() {} };
struct Factory { std::map<unsigned, std::string> texts; };
std::string operator_name(void *) asm("_ZNK2ge8Operator7GetNameEv");
std::string operator_name(void *) { return std::string(); }
std::string operator_type(void *) asm("_ZNK2ge8Operator9GetOpTypeEv");
std::string operator_type(void *) { return std::string(); }
Factory *status_texts() asm("_ZN2ge13StatusFactory8InstanceEv");
Factory *status_texts() { static Factory factory; return &factory; }
extern "C" const char *aclrtGetSocName() { return "SOC"; }
""".replace("SOC", SOC)
WRITTEN = set(re.findall(r'asm\("(\w+)"\)', SOURCE)) | {"aclrtGetSocName"}


def real_cann():
    """The folder of an installed CANN, or None."""
    named = os.environ.get("ASCEND_HOME_PATH") or os.environ.get("ASCEND_TOOLKIT_HOME")
    usual = Path("/usr/local/Ascend/ascend-toolkit/latest")
    return named or (str(usual) if usual.exists() else None)


def missing():
    """Why no stand-ins can be made here, in one sentence; "" if they can."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return (f"a dry run for Ascend was made on Linux x86-64 only, and this is {platform.system()} "
                f"{platform.machine()}; run it there, or where CANN is installed")
    absent = [program for program in ("nm", "g++") if not shutil.which(program)]
    return f"a dry run for Ascend needs {' and '.join(absent)}, not found here; apt install g++" if absent else ""


def environment():
    """Variables for a process that compiles for Ascend, and a sentence on whose libraries it uses.

    Returns:
        dict for `subprocess`, str.

    Raises:
        RunError: no compiler, another architecture, or a MindSpore whose wheel is built another way.
    """
    library = str(Path(__file__).resolve().parents[2])
    paths = [library, *filter(None, [os.environ.get("PYTHONPATH")])]
    dry = {**os.environ, "MS_SIMULATION_LEVEL": "1", "GLOG_v": "3", "PYTHONPATH": ":".join(paths)}
    if cann := real_cann():
        return dry, f"CANN of {cann}, as it is installed"
    home = made()
    wheel = wheel_folder()
    libraries = [home / "lib64", wheel / "lib/plugin/ascend", wheel / "lib/plugin", wheel / "lib"]
    return {**dry, "ASCEND_HOME_PATH": str(home), "ASCEND_OPP_PATH": str(home / "opp"),
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "PYTHONPATH": ":".join([str(home / "python"), *paths])}, f"stand-ins for CANN in {home}"


def wheel_folder():
    """Where MindSpore is installed; it is not imported."""
    return Path(find_spec("mindspore").origin).parent


def made():
    """The folder of the stand-ins, which are made if they are not there yet: about ten seconds, once for a wheel."""
    if reason := missing():
        raise RunError(reason)
    wheel = wheel_folder()
    names = wanted(wheel)
    known = hashlib.sha256("\n".join([*names, Path(__file__).read_text(encoding="utf-8")]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twins_lib"
    folder = cache / f"ascend-{known}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=cache))
        build(names, unfinished / "cann")
        try:
            unfinished.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(unfinished)
    return folder / "cann"  # MindSpore cuts the path of a library behind this word, to find the others


def wanted(wheel):
    """Names that the Ascend libraries of a wheel ask of CANN, sorted."""
    plugin = Path(wheel, "lib/plugin")
    if absent := [name for name in ASKING if not (plugin / name).exists()]:
        raise RunError(f"{plugin / absent[0]}: not there, so this MindSpore is not built as {MADE_FOR} is, for which "
                       f"the dry run was made; pip install mindspore=={MADE_FOR}")
    asking = [plugin / name for name in ASKING]
    asking += sorted(plugin.glob("ascend/ms_kernels_symmetric_memory/**/*.so"))
    inside = [*plugin.parent.glob("*.so*"), *Path(wheel).glob("*.so"), *plugin.glob("ascend/*.so"), *asking]
    undefined = _symbols(asking, "--undefined-only") - _symbols(inside, "--defined-only")
    system = [ctypes.CDLL(name) for name in (None, "libstdc++.so.6", "libgomp.so.1")]
    undefined = {name for name in undefined if not any(hasattr(library, name) for library in system)}
    looked_up = {name.decode() for path in asking for name in LOOKED_UP.findall(path.read_bytes())}
    sized = {name + "GetWorkspaceSize" for name in looked_up if name.startswith("aclnn")}
    return sorted(undefined | looked_up | sized)


def _symbols(paths, which):
    said = subprocess.run(["nm", "-D", which, *paths], capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in said.splitlines()]
    return {words[-1].split("@")[0] for words in lines if len(words) > 1 and words[-2] not in "wv"}


def build(names, home):
    """Compile the one library and put it, by the names of CANN's, into a folder that looks like CANN."""
    lines = [SOURCE, *map(_stand_in, names, range(len(names)))]
    (home / "lib64").mkdir(parents=True)
    (home / "opp/built-in").mkdir(parents=True)
    (home / "python/hccl").mkdir(parents=True)
    (home / "python/hccl/__init__.py").touch()
    (home / "python/hccl/sys_version.py").write_text(f"__sys_version__ = {HCCL!r}\n")
    (home / "standins.cpp").write_text("\n".join(lines) + "\n")
    subprocess.run(["g++", "-shared", "-fPIC", "-D_GLIBCXX_USE_CXX11_ABI=0", home / "standins.cpp", "-o",
                    home / "lib64/libstandins.so"], check=True)
    for name in LINKED + OPENED:
        (home / f"lib64/lib{name}.so").symlink_to("libstandins.so")


def _stand_in(name, number):
    """C++ that defines one name."""
    if name in WRITTEN:
        return ""
    if name.startswith(("_ZTI", "_ZTV", "_ZTS")):
        return f'extern char data_{number}[256] asm("{name}"); char data_{number}[256];'
    result, takes, body = "long", "", "return 0;"
    if RETURNS_OBJECT.match(name):
        result, body = "Object", "return {};"
    elif CONSTRUCTS.match(name):
        result, takes, body = "void", "void **self", "self[0] = self[1] = nullptr;"
    return (f'{result} f_{number}({takes}) asm("{name}"); {result} f_{number}({takes}) {{ {body} }}')
