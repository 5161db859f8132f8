"""The training engine: one compiled step, one loop that can be killed at any moment, for every task (lesson 10).

The engine knows neither images nor classes: a `Task` hands it a loss, batches of arrays and a score. All randomness
is in the batches, drawn for (seed, epoch, step), so the place of a run in its epoch is all the random state there is.
"""

import contextlib
import io
import json
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, amp, nn, ops
from tqdm import tqdm

from ..weights import AVERAGE, save_weights
from .checkpoints import WAY_OUT, Checkpoints, Progress, write_atomically
from .config import ConfigError, as_yaml, changes, load_config
from .errors import NonFiniteLoss, RunError
from .names import check_names, some
from .recipe import AdamW, clip_by_global_norm, global_norm, over_all, parameter_groups

log = logging.getLogger("twins_lib")

FREE = {"workers", "keep", "output", "device", "mode", "save_steps"}  # settings that do not change what is learned
UNSAID = ("n_parameters", "steps", "processes", "test_iou", "classes")  # of a line of the log: in log.jsonl only
LOG_SECONDS = 30  # between two log lines within an epoch, when there is no terminal for a progress bar


# ---------------------------------------------------------------------------------------------------- one step

class TrainStep:
    """Forward, loss, gradients, all-reduce, unscaling, clipping and update, compiled as one function.

    Args:
        loss (callable): arrays of one batch -> mean loss, a float32 Tensor without axes.
        optimizer (AdamW): called with gradients and learning rate; `parameters` says which ones.
        accumulate (int): batches whose gradients are averaged before an update.
        clip_norm (float): greatest global norm of the gradients, after the all-reduce.
        scaled (bool): multiply the loss so that float16 gradients do not vanish; a step whose gradients
            overflow is left out and the factor halved.
        mode (str): "graph" compiles, "pynative" does not.
        world (int): processes that average their gradients.
        ema (float): keep an average of the weights, a ← ema · a + (1 - ema) · p after each update; 0 for none.
    """

    def __init__(self, loss, optimizer, accumulate=1, clip_norm=5.0, scaled=False, mode="graph", world=1, ema=0.0):
        self.accumulate = accumulate
        self.scaler = scaler = amp.DynamicLossScaler(2 ** 16, 2, 2000) if scaled else None
        self.weights = optimizer.parameters
        self.averages = averages = optimizer.parameters.clone(prefix=AVERAGE[:-1], init="same") if ema else ()
        add, gradients_of_all = _gradients(loss, optimizer.parameters, scaler, accumulate)
        reduce = _reducer(optimizer.parameters, world) if world > 1 else None

        def optimize(gradients, rate):
            done = optimizer(gradients, rate)
            return ops.depend(done, over_all(partial(_approach, ema), averages, optimizer.parameters)) if ema else done

        def update(rate, told, *arrays):
            value, gradients = gradients_of_all(*arrays)
            # Before the sum over processes: a chip that saturates has infinities in its status register only.
            overflow = 1.0 - amp.all_finite(gradients).astype(ms.float32) if scaled else ops.zeros_like(value)
            told = told + ops.stack((value, ops.zeros_like(value), overflow))
            if world > 1:
                gradients, told = reduce(gradients, told)
            gradients = scaler.unscale(gradients) if scaled else gradients
            norm = global_norm(gradients)
            gradients = clip_by_global_norm(gradients, clip_norm)
            if scaled:
                finite = ops.logical_and(told[2] == 0, ops.isfinite(norm))
                if finite:
                    value = ops.depend(value, optimize(gradients, rate))
                value = ops.depend(value, scaler.adjust(finite))
            else:
                value = ops.depend(value, optimize(gradients, rate))
            return ops.depend(ops.concat((told[:2], norm.reshape(1))), value)

        compiled = ms.jit if mode == "graph" else lambda function: function
        self._add, self._update, self._world = compiled(add), compiled(update), world

    def __call__(self, batches, rate, stop=False):
        """Train on `accumulate` batches.

        Args:
            batches (list): each a tuple of arrays, as the loss takes them.
            rate (float): learning rate.
            stop (bool): this process was asked to stop.

        Returns:
            mean loss over batches and processes, whether any process was asked to stop, norm of the gradients.
        """
        # Without a copy: the arrays are still here when the device has answered.
        *first, last = [[ms.from_numpy(np.ascontiguousarray(array)) for array in batch] for batch in batches]
        so_far = sum(float(self._add(*arrays).asnumpy()) for arrays in first)
        told = Tensor(np.array([so_far, stop, 0], np.float32))
        total, stops, norm = self._update(Tensor(rate, ms.float32), told, *last).asnumpy().tolist()
        return total / (self.accumulate * self._world), stops > 0, norm

    def parameters(self):
        """What the step remembers beside the weights and the optimizer's state."""
        return [*self.averages, *((self.scaler.scale_value, self.scaler.counter) if self.scaler else ())]

    @contextlib.contextmanager
    def averaged(self):
        """Within it the weights are their averages, if such are kept."""
        before = [weight.asnumpy().copy() for weight in self.weights] if self.averages else []
        try:
            for weight, average in zip(self.weights, self.averages):
                ops.assign(weight, average)  # what is compiled would not notice set_data
            yield
        finally:
            for weight, array in zip(self.weights, before):
                ops.assign(weight, Tensor(array))


def _gradients(loss, parameters, scaler, accumulate):
    """Two functions of a batch: one adds its gradients to sums, one is for the last batch and gives all that is known.

    Returns:
        add, a function of arrays -> loss; and a function of arrays -> loss, and the mean gradients of all batches.
    """
    sums = parameters.clone(prefix="grad_sum", init="zeros") if accumulate > 1 else ()

    def scaled_loss(*arrays):
        value = loss(*arrays)
        return scaler.scale(value) if scaler else value, value

    gradient = ms.value_and_grad(scaled_loss, None, parameters, has_aux=True)

    def add(*arrays):
        (_, value), gradients = gradient(*arrays)
        return ops.depend(value, over_all(ops.assign_add, sums, gradients))

    def last(*arrays):
        (_, value), gradients = gradient(*arrays)
        return value, over_all(partial(_take_mean, accumulate), sums, gradients) if accumulate > 1 else gradients

    return add, last


def _take_mean(accumulate, total, one):
    """(total + one) / accumulate, and total starts again from 0."""
    mean = (total + one) / accumulate
    return ops.depend(mean, ops.assign(total, ops.zeros_like(total)))


def _reducer(parameters, world):
    """A function that averages gradients over all processes and adds up `told`, a vector, in one message for all.

    (MindSpore's own joining, comm_fusion, gives wrong gradients on CPUs in 2.10.0, so it could not be tried here.)
    """
    all_reduce = ops.AllReduce()
    ends = np.cumsum([parameter.size for parameter in parameters]).tolist()
    starts, ends, last = (0, *ends[:-1]), tuple(ends), ends[-1]

    def reduce(gradients, told):
        joined = all_reduce(ops.concat((*over_all(_flat, gradients), told)))
        return over_all(partial(_mean_like, world, joined), starts, ends, parameters), joined[last:]

    return reduce


def _flat(gradient):
    return gradient.reshape(-1)


def _mean_like(world, joined, start, end, parameter):
    return joined[start:end].reshape(parameter.shape) / world


def _approach(ema, average, weight):
    return ops.assign(average, ema * average + (1 - ema) * weight)


def step_of(config, model, loss, world):
    """The optimizer and the compiled step of a config."""
    optimizer = AdamW(parameter_groups(model, config.weight_decay), eps=config.eps)
    return optimizer, TrainStep(loss, optimizer, config.accumulate, config.clip_norm, config.precision == "O2",
                                config.mode, world, config.ema)


def in_precision(model, level):
    """The network as the device computes it: "O0" float32, "O2" float16 but for the norms; weights stay float32."""
    if level == "O0":
        return model
    return amp.custom_mixed_precision(model, black_list=[*amp.get_black_list(), nn.GroupNorm])


def evaluated(network, mode):
    """The network as a function of images alone, compiled where mode is "graph"."""
    @ms.jit
    def compiled(images):
        return network(images)

    return compiled if mode == "graph" else network


# ---------------------------------------------------------------------------------------------------- the loop

@dataclass
class Task:
    """What the engine does not know of a run.

    Attributes:
        model: the network whose weights are trained, and saved as best.ckpt.
        loss: arrays of one batch -> mean loss, a float32 Tensor without axes.
        steps: updates an epoch.
        batches: (epoch, first) -> iterable of tuples of arrays, from the batch numbered `first` on.
        validate: callable that is true when the run was asked to stop -> dict of figures for the log, or None if it
            stopped half-way.
        rates: learning rate of every epoch.
        score: the figure that is greatest in the best epoch.
        classes: their names in the order of their labels, kept with all weights.
    """

    model: nn.Cell
    loss: Callable
    steps: int
    batches: Callable
    validate: Callable
    rates: np.ndarray
    score: str = "test_acc1"
    classes: Sequence = ()


class Stop:
    """True once this process has been asked to stop, by SIGTERM or Ctrl+C. A context manager."""

    def __init__(self):
        self.asked, self._owner = False, os.getpid()

    def __bool__(self):
        return self.asked

    def _ask(self, number, frame):
        if os.getpid() != self._owner:  # a worker that reads images: it has nothing to save
            os._exit(0)
        self.asked = True

    def __enter__(self):
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)


def fit(task, config, rank=0, world=1, resume=False):
    """Train from the first epoch, or from where the run was interrupted, to the last.

    In `config.output` it leaves log.jsonl (a line an epoch), curve.png, best.ckpt and checkpoints/. Whenever it is
    killed, a run that is resumed ends with the weights of one that was never disturbed.

    Args:
        task (Task): what to train.
        config (RunConfig): how.
        rank, world (int): which of how many processes this is.
        resume (bool): go on from the newest checkpoint; without one, start.

    Returns:
        The log, a list of dicts; shorter than the run if it was asked to stop.

    Raises:
        RunError: a checkpoint that does not fit or has other classes, a folder that holds another run.
        CannotWrite: a full disk, a folder that is read-only or cannot be made.
        NonFiniteLoss: naming epoch and step.
    """
    return _Run(task, config, rank, world).fit(resume)


class _Run:
    def __init__(self, task, config, rank, world):
        self.task, self.config, self.rank, self.world = task, config, rank, world
        self.output = Path(config.output)
        optimizer, self.step = step_of(config, task.model, task.loss, world)
        moments = [*optimizer.moments1, *optimizer.moments2, optimizer.step]
        self.checkpoints = Checkpoints(self.output / "checkpoints",
                                       [*task.model.get_parameters(), *moments, *self.step.parameters()], config.keep)
        self.progress = Progress()
        self.timed = 0

    def fit(self, resume):
        self._begin(resume)
        with Stop() as stop:
            while self.progress.epoch < self.config.epochs:
                if not self._train_epoch(stop) or not self._finish_epoch(stop):
                    self._save()
                    self._say(f"stopped as asked in epoch {self.progress.epoch} after step {self.progress.step} of "
                              f"{self.task.steps}; all is saved, go on with --resume")
                    return self.progress.history
        if self.rank == 0:
            try:
                draw_curve(self.progress.history, self.output / "curve.png")
            except ModuleNotFoundError:  # an image with MindSpore need not have what only draws
                self._say("curve.png is not drawn, as matplotlib is not installed; its figures are those of log.jsonl")
        return self.progress.history

    def _begin(self, resume):
        saved = self.checkpoints.all()
        if saved and not resume:
            raise RunError(f"{self.output}: holds a run already; go on with --resume, or choose another output=...")
        if saved:
            unsure = check_names(saved[-1], list(self.task.classes), self.config.data) if self.task.classes else ""
            self.progress, extra = self.checkpoints.load(saved[-1])
            if extra["steps"] != self.task.steps and self.progress.step:
                raise RunError(f"{saved[-1]}: stopped within an epoch of {extra['steps']} steps, which now has "
                               f"{self.task.steps}; resume with the batch_size, accumulate and images of its start")
            self._say(f"{saved[-1]}: going on in epoch {self.progress.epoch} after step {self.progress.step}, "
                      f"process {os.getpid()}")
            if unsure:
                self._say(unsure)
            self._tell_changes()
        else:
            self._say(f"{self.output}: {'nothing to resume, ' if resume else ''}starting, process {os.getpid()}")
        if self.task.classes:
            self._say(f"{len(self.task.classes)} classes: {some(self.task.classes, 20)}")
        if self.rank == 0:
            write_atomically(self.output / "config.yaml", as_yaml(self.config).encode())

    def _tell_changes(self):
        """Say which settings are not those that the run was last started with."""
        try:
            before = load_config(self.output / "config.yaml", schema=type(self.config))
        except ConfigError as fault:
            self._say(f"whether settings have changed cannot be told: {fault}")
            return
        found = [f"{key} {old} -> {new}" for key, (old, new) in changes(before, self.config).items() if key not in FREE]
        if found:
            self._say("changed since the last start: " + ", ".join(found))

    def _train_epoch(self, stop):
        """Train to the end of the epoch; False if the run was asked to stop."""
        now, steps, accumulate = self.progress, self.task.steps, self.config.accumulate
        if now.step == steps:  # stopped while evaluating
            return True
        rate = float(self.task.rates[now.epoch])
        self.first = now.step
        batches = iter(self.task.batches(now.epoch, now.step * accumulate))
        with self._meter() as meter:
            while now.step < steps:
                loss, stopped, norm = self.step([next(batches) for _ in range(accumulate)], rate, bool(stop))
                now.step += 1
                if not math.isfinite(loss) or not (math.isfinite(norm) or self.step.scaler):
                    raise NonFiniteLoss(f"epoch {now.epoch} step {now.step} of {steps}: loss {loss}, gradient norm "
                                        f"{norm}; the last checkpoint is from before: lower peak_lr or check the data")
                now.loss_sum += loss
                if now.step == self.first + 1:  # the step that compiles is left out of the speed
                    self.begin = time.perf_counter()
                meter(loss, rate, norm)
                if stopped:
                    return False
                if self.config.save_steps and now.step % self.config.save_steps == 0 and now.step < steps:
                    self._save()
        self.timed, self.seconds = steps - self.first - 1, time.perf_counter() - self.begin
        return True

    def _finish_epoch(self, stop):
        """Evaluate, log and save; False if the run was asked to stop before the evaluation was complete.

        What was trained is saved before: if anything fails from here on, resuming begins with the evaluation.
        """
        now = self.progress
        trained = self._save()
        with self.step.averaged():
            # Processes must agree on giving up, so only a process that is alone does.
            figures = self.task.validate(lambda: bool(stop) and self.world == 1)
            if figures is None:
                return False
            self._note(figures)
        self._save(instead_of=trained)
        self._say("  ".join(f"{key} {value:.6g}" if isinstance(value, float) else f"{key} {value}"
                            for key, value in now.history[-1].items() if key not in UNSAID))
        return True

    def _note(self, figures):
        """Put the epoch into the log, its weights into best.ckpt if no epoch was better, and go on to the next."""
        now, steps = self.progress, self.task.steps
        line = {"epoch": now.epoch, "train_lr": float(self.task.rates[now.epoch]), "train_loss": now.loss_sum / steps,
                **figures, "n_parameters": sum(p.size for p in self.task.model.trainable_params()),
                "steps": steps, "processes": self.world}
        line |= {} if now.history else self._names()
        if self.timed:
            line["train_images_per_second"] = round(self.timed * self.config.batch_size / self.seconds, 2)
        now.history.append(line)
        now.epoch, now.step, now.loss_sum = now.epoch + 1, 0, 0.0
        if self.rank == 0:
            best = max(one[self.task.score] for one in now.history)
            if figures[self.task.score] == best:
                save_weights(self.task.model, self.output / "best.ckpt",
                             {"config": "config.yaml", **line, **self._names()}, WAY_OUT)
            write_atomically(self.output / "log.jsonl", "".join(json.dumps(one) + "\n" for one in now.history).encode())

    def _save(self, instead_of=None):
        """Write a checkpoint; its path, on rank 0."""
        if self.rank == 0:
            return self.checkpoints.save(self.progress, {"steps": self.task.steps, **self._names()}, instead_of)

    def _names(self):
        return {"classes": list(self.task.classes)} if self.task.classes else {}

    def _say(self, text):
        if self.rank == 0:
            log.info(text)

    @contextlib.contextmanager
    def _meter(self):
        """A progress bar on a terminal, a log line now and then elsewhere, nothing on other ranks than 0."""
        now, steps, images = self.progress, self.task.steps, self.config.batch_size
        if self.rank == 0 and sys.stderr.isatty():
            with tqdm(total=steps * images, initial=now.step * images, unit="img", unit_scale=steps * images >= 10_000,
                      leave=False, desc=f"epoch {now.epoch}/{self.config.epochs}", dynamic_ncols=True) as bar:
                def advance(loss, rate, norm):
                    bar.set_postfix(loss=f"{loss:.3f}", lr=f"{rate:.2e}", norm=f"{norm:.2f}", refresh=False)
                    bar.update(images)
                yield advance
            return
        last = time.perf_counter()

        def mention(loss, rate, norm):
            nonlocal last
            if time.perf_counter() - last >= LOG_SECONDS and self.first + 1 < now.step < steps:
                last = time.perf_counter()
                speed = (now.step - self.first - 1) / (last - self.begin)
                self._say(f"epoch {now.epoch}/{self.config.epochs} step {now.step}/{steps} loss {loss:.4f} "
                          f"lr {rate:.2e} norm {norm:.2f} {speed * images:.1f} img/s, "
                          f"{(steps - now.step) / speed:.0f} s left")
        yield mention


def draw_curve(history, path):
    """Loss and accuracy of every epoch as a picture; colours and line styles that colour-blind readers tell apart."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    epochs = [line["epoch"] for line in history]
    looks = {"loss": [("train_loss", "#0072B2", "-"), ("test_loss", "#D55E00", "--")],
             "accuracy (%)": [("test_acc1", "#009E73", "-"), ("test_acc5", "#E69F00", "--")]}
    if any("test_miou" in line for line in history):
        looks = {"loss": looks["loss"],
                 "mean IoU, right pixels (%)": [("test_miou", "#009E73", "-"), ("test_pixel_acc", "#E69F00", "--")]}
    for axes, (label, lines) in zip(figure.subplots(1, 2), looks.items()):
        for key, colour, style in lines:
            axes.plot(epochs, [line.get(key, math.nan) for line in history], style, color=colour, marker=".", label=key)
        axes.set(xlabel="epoch", ylabel=label, ylim=(0, 100) if "%" in label else None)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120)
    write_atomically(path, picture.getvalue())
