"""Compare networks, and pieces of the recipe, on CIFAR-10's photographs: same pictures, same budget, same code.

    python data_scripts/fetch_cifar10.py
    python -m twins_lib.teach.experiments.compare networks
    python -m twins_lib.teach.experiments.compare recipe

`networks` trains those of `company`, three seeds each, and scores them once, on the test pictures. `recipe` trains
twins_svt_nano with one piece of its recipe changed, for a short and for a long time, and scores on the validation
pictures. They take an hour and half an hour of one core of an AMD EPYC. Stopped and started again, both go on: the runs
stay in runs/compare of the working folder.
"""

import argparse
import json
import logging
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import mindspore as ms
from tqdm import tqdm

from ...cost import count
from ...training.config import ConfigError, load_config
from ...training.engine import fit
from ...training.errors import RunError
from ...training.images import ImageFolder
from ...training.tasks import build, classification
from ...weights import CannotWrite, place, write_whole
from .cifar10 import origin
from .company import NETWORKS
from .photographs import score
from .runs import ASSETS, provenance, write

RUNS = Path("runs/compare")
ORIGIN = RUNS / "pictures.txt"  # names the folder whose pictures the runs are trained on
SEEDS = (0, 1, 2)
TIMM = "timm in PyTorch"  # trained by `compare_timm`, where torch and timm are installed
BUDGET = ("epochs=6", "warmup_epochs=2")
PER_CLASS, FEW = 1000, 200  # pictures of each class for networks, and for the recipe
# Of four rates the best for the linear map: 33.6 % of the validation pictures, at the rate of the others 29.8 %.
OWN = {"linear": ("peak_lr=2e-4", "warmup_lr=1e-4")}

PIECES = {
    "as configured": (),
    "no weight decay": ("weight_decay=0",),
    "no warm-up": ("warmup_epochs=0",),
    "no smoothing": ("augmentation.smoothing=0",),
    "no clipping": ("clip_norm=1e9",),
    "no crops or flips": ("augmentation.crop_scale=[1, 1]", "augmentation.crop_ratio=[1, 1]", "augmentation.flip=0"),
    "with mixing": ("augmentation.mixup=0.8", "augmentation.cutmix=1"),
    "with drop path": ("drop_path=0.1",),
}
BUDGETS = {"short": {"epochs": 4, "seeds": [0, 1, 2]}, "long": {"epochs": 20, "seeds": [0]}}


def check_same(data):
    """Raise ValueError if the runs that are there were trained on the pictures of another folder."""
    before = ORIGIN.read_text(encoding="utf-8") if ORIGIN.exists() else str(data.resolve())
    if before != str(data.resolve()):
        raise ValueError(f"{RUNS}: its runs were trained on {before}, not on {data}; remove it, or work elsewhere")


@cache
def part(data, per_class):
    """A folder with the first pictures of each class of data/train, and of data/val a twentieth as many to watch."""
    folder = RUNS / f"pictures_{per_class}"
    unfinished = folder.with_name(folder.name + "_unfinished")
    if not folder.is_dir():
        shutil.rmtree(unfinished, ignore_errors=True)
        for split, number in (("train", per_class), ("val", max(1, per_class // 20))):
            pictures = ImageFolder(data / split)
            for label, name in enumerate(tqdm(pictures.classes, desc=f"copying {split}", unit="class", disable=None)):
                (unfinished / split / name).mkdir(parents=True)
                chosen = [path for path, one in zip(pictures.paths, pictures.labels) if one == label][:number]
                for path in chosen:
                    shutil.copy(path, unfinished / split / name)
        write_whole(ORIGIN, str(data.resolve()).encode())
        unfinished.rename(folder)
    return folder


def trained(folder, words, pictures, tested, name=None):
    """Train a network and score what it is after the last epoch, unless that has been done.

    Args:
        folder (Path): of the run, and of score.json.
        words (sequence): settings in the place of those of cifar10_svt_nano.
        pictures (Path): with train/ and val/.
        tested (Path): the folder of pictures to score on, in classes.
        name (str): of a network in NETWORKS; None for the one that the settings name.

    Returns:
        Percent right on `tested`.
    """
    done = folder / "score.json"
    if not done.exists():
        apart(train, folder, words, pictures, tested, name)
    return json.loads(done.read_text())["top1"]


def apart(function, *arguments):
    """Call in a process of its own: MindSpore gives the memory of a trained network back only when its process ends."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def train(folder, words, pictures, tested, name):
    """What `trained` does where there is no score yet."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    ms.set_device("CPU")

    def network(config, classes):
        ms.set_seed(config.seed)
        return NETWORKS[name](classes)

    config = load_config("cifar10_svt_nano", [f"data={pictures}", f"output={folder}", "keep=1", *words])
    task = classification(config, build=network if name else build)
    if len(fit(task, config, resume=True)) < config.epochs:
        raise KeyboardInterrupt
    task.model.set_train(False)
    write_whole(folder / "score.json", json.dumps(score(task.model, config, ImageFolder(tested))).encode())


def named(name):
    """A name as that of a folder."""
    return name.replace(" ", "_")


def networks_of(data, seeds):
    """{network: percent right on the test pictures, one for each seed}."""
    return {name: [trained(RUNS / named(name) / f"seed{seed}", (*BUDGET, f"seed={seed}", *OWN.get(name, ())),
                           part(data, PER_CLASS), data / "test", name) for seed in seeds] for name in NETWORKS}


def networks(data, path):
    """Train the company and write its card; timm's network is in it if `compare_timm` has trained it."""
    card, tested = {}, ImageFolder(data / "test")
    for name, top1 in networks_of(data, SEEDS).items():
        cost = count(NETWORKS[name](len(tested.classes)), 64, 64)
        card[name] = {"parameters": cost.parameters, "macs": cost.macs, "top1": top1}
    theirs = sorted((RUNS / named(TIMM)).glob("seed*/score.json"))
    if len(theirs) == len(SEEDS):
        ours = card["Twins-SVT nano"]
        card[TIMM] = {**ours, "top1": [json.loads(one.read_text())["top1"] for one in theirs]}
    else:
        print(f"{TIMM} is left out: python -m twins_lib.teach.experiments.compare_timm has not trained it")
    config = load_config("cifar10_svt_nano", BUDGET)
    write(path, provenance("compare networks", data=origin(data), images=PER_CLASS * len(tested.classes),
                           epochs=config.epochs, settings=list(BUDGET), own_settings=OWN, seeds=list(SEEDS),
                           test_images=len(tested), networks=card))


def last_loss(folder):
    """The training loss of a run's last epoch, rounded, from its log."""
    return round(json.loads((folder / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])["train_loss"], 3)


def recipe(data, path):
    """Train with each piece changed, short and long, and write the card."""
    scores, tested = {}, ImageFolder(data / "val")
    for budget, plan in BUDGETS.items():
        for name, words in PIECES.items():
            folders = {seed: RUNS / "recipe" / budget / named(name) / f"seed{seed}" for seed in plan["seeds"]}
            found = scores.setdefault(name, {"settings": list(words)})
            found[budget] = [trained(folder, (f"epochs={plan['epochs']}", "batch_size=64", f"seed={seed}", *words),
                                     part(data, FEW), data / "val") for seed, folder in folders.items()]
            found[f"train_loss {budget}"] = [last_loss(folder) for folder in folders.values()]
    write(path, provenance("compare recipe", data=origin(data), images=FEW * len(tested.classes), batch_size=64,
                           budgets=BUDGETS, validation_images=len(tested), pieces=scores))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m twins_lib.teach.experiments.compare", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    makers = {"networks": (networks, "company.json"), "recipe": (recipe, "recipe_pieces.json")}
    parser.add_argument("what", choices=makers)
    parser.add_argument("--data", type=place, default=Path("data/cifar10"), help="train/, val/, test/ (%(default)s)")
    parser.add_argument("--output", type=place, metavar="FILE", help="instead of the file in notebooks/assets")
    options = parser.parse_args(arguments)
    make, name = makers[options.what]
    path = options.output or ASSETS / name
    try:
        check_same(options.data)
        make(options.data, path)
    except KeyboardInterrupt:
        sys.exit("stopped; what is trained is kept: the same command goes on")
    except (ConfigError, RunError, CannotWrite, ValueError) as error:
        sys.exit(f"error: {error}")
    print(path)


if __name__ == "__main__":
    main()
