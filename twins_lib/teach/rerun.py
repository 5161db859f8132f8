"""Judge the answers of a notebook again: by the teacher's own checks, in a process of its own, with a time limit.

Of the notebook that was handed in only two things are taken: the cells of the exercises, without their calls of checks,
and what the student has written into cells of their own. All others are the cells of the teacher's lesson, and of these
only the ones whose names the answers need. The answers run with the rights of whoever starts this: it is no sandbox.
"""

import ast
import builtins
import importlib
import json
import os
import re
import signal
import subprocess
import symtable
import sys
import tempfile
from dataclasses import dataclass, field

import numpy as np

MEMORY = 6 << 30   # bytes that an answer may have
FILE = 100 << 20   # and bytes of a file that it writes
CHECK = "check"    # what every lesson calls its checks


class CannotRun(Exception):
    """The course itself does not start; the message says why."""


# ---------------------------------------------------------------------------------------------------------------------
# What is run: the answers, and the cells that they stand on
# ---------------------------------------------------------------------------------------------------------------------

@dataclass
class Step:
    """A cell to run: its code, {exercise: the arguments of its check, as code}, and the names it makes and needs."""
    source: str
    calls: dict = field(default_factory=dict)
    makes: set = field(default_factory=set)
    needs: set = field(default_factory=set)


def parse(source):
    """The tree of a cell; without its lines for the shell and for Jupyter, if it has any.

    Raises:
        SyntaxError: it is not Python.
    """
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.parse(re.sub(r"^[ \t]*[%!?].*$", "", source, flags=re.M))
    except (ValueError, RecursionError, MemoryError) as fault:   # a null byte, or a thousand brackets
        raise SyntaxError(str(fault)) from None


def called(node):
    """The name of the check that a statement calls and does nothing else, or None."""
    call = node.value if isinstance(node, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        return call.func.attr if call.func.value.id == CHECK else None


def calls_of(tree):
    """{name of a check: its arguments, as code of a tuple}, of the last call of each that names no argument."""
    return {called(node): ast.unparse(ast.Tuple(node.value.args, ast.Load()))
            for node in tree.body if called(node) and not node.value.keywords}


def step(source, wanted=None):
    """A step from the code of a cell.

    Args:
        source (str): the cell.
        wanted (dict): of a cell with exercises, the calls of its checks as they stand in the teacher's lesson. Those in
            the cell are taken out, but for the arguments of the ones that are wanted: they are the answer too.
    """
    try:
        tree = parse(source)
        calls = {name: calls_of(tree).get(name, arguments) for name, arguments in (wanted or {}).items()}
        tree.body = [node for node in tree.body if not called(node)]
        made, needs = names([*map(ast.unparse, tree.body), *calls.values()])
    except SyntaxError as fault:
        where = f" in line {fault.lineno}" if fault.lineno else ""
        said = f"it is not Python{where}: {fault.msg}"
        return Step(f"raise SyntaxError({said!r})", dict(wanted or {}))
    return Step(ast.unparse(tree), calls, made | changed(tree), needs)


def names(statements):
    """The names that statements make, and those that they and their functions expect to be there before."""
    made, needs = set(), set()
    for source in statements:
        tables = [symtable.symtable(source, "cell", "exec")]
        top = tables[0].get_symbols()
        used = {name.get_name() for name in top if name.is_referenced()}
        while tables:
            table = tables.pop()
            used |= {name.get_name() for name in table.get_symbols() if name.is_global() and name.is_referenced()}
            tables += table.get_children()
        needs |= used - made
        made |= {name.get_name() for name in top if name.is_assigned() or name.is_imported() or name.is_namespace()}
    return made, needs


def changed(tree):
    """The names into which a cell puts something, as `x[0] = 1` and `x.side = 2` do."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            while isinstance(node, (ast.Subscript, ast.Attribute)):
                node = node.value
            found |= {node.id} if isinstance(node, ast.Name) else set()
    return found


def plan(lesson, notebook):
    """The steps that judge a notebook, in the order of the lesson.

    Args:
        lesson (Lesson): the teacher's, see `collect`.
        notebook (Notebook): what was handed in, with the lesson's exercises found in it.
    """
    answers = {lesson.cell_of[name]: index for name, index in notebook.found.items()}
    by_source = {source: cell for cell, source in lesson.code.items()}
    own, place = {None: []}, None
    for index, (cell, source) in enumerate(notebook.code):
        same = cell if cell in lesson.code else by_source.get(source)
        exercise = next((cell for cell, answer in answers.items() if answer == index), None)
        if exercise or same:
            place = exercise or same
        else:
            own.setdefault(place, []).append(step(source))
    steps = list(own[None])
    for cell, source in lesson.code.items():
        if cell in answers:
            wanted = {name: call for name, call in lesson.calls[cell].items() if name in notebook.found}
            steps.append(step(notebook.code[answers[cell]][1], wanted))
        elif cell not in lesson.calls:
            steps.append(step(source))
        steps += own.get(cell, [])
    return needed(steps)


def needed(steps):
    """Of these steps the ones with exercises and those that make what they need, and so on."""
    wanted, left = set(), [n for n, one in enumerate(steps) if one.calls]
    while left:
        n = left.pop()
        if n in wanted:
            continue
        wanted.add(n)
        for name in steps[n].needs:
            makers = [k for k, one in enumerate(steps) if name in one.makes and k != n]
            before = [k for k in makers if k < n]
            left += before[-1:] or makers[:1]   # who ran cells out of order may find it further down
    return [steps[n] for n in sorted(wanted)]


# ---------------------------------------------------------------------------------------------------------------------
# Running it: this process asks, another one answers
# ---------------------------------------------------------------------------------------------------------------------

running = set()   # the processes that are under way, so that an interruption can end them


def judge(lesson, notebook, seconds):
    """{exercise: (verdict, what the check says)} of a notebook, whatever its answers do.

    Args:
        lesson, notebook: as for `plan`.
        seconds (int): how long a cell may take.

    Raises:
        CannotRun: the fault is not the notebook's: the course does not start on this machine.
    """
    steps, found, stuck = plan(lesson, notebook), {}, []
    while True:
        task = {"lesson": lesson.number, "seconds": seconds, "done": list(found), "stuck": stuck,
                "steps": [[one.source, one.calls] for one in steps]}
        lines, ending = ask(task, seconds * len(steps) + 120)
        found.update({line[1]: (line[2], line[3]) for line in lines if line[0] == "judged"})
        if lines and lines[-1] == ["end"]:
            return found
        at = [line[1] for line in lines if line[0] == "step"]
        if not at:
            raise CannotRun(f"the checks of lesson {lesson.number} do not start: {ending}")
        said = f"did not end within {seconds} s" if ending == -signal.SIGALRM else f"ended Python ({told(ending)})"
        found.update({name: ("wrong", said) for name in steps[at[-1]].calls if name not in found})
        stuck.append(at[-1])


def told(ending):
    """A process's return code in words."""
    return f"exit code {ending}" if ending >= 0 else signal.Signals(-ending).name


def ask(task, seconds):
    """Run a task in a process of its own: the lines that it answered, and its return code (or why it did not start)."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=folder, start_new_session=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
            env={**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(
                os.path.abspath(place or ".") for place in sys.path)})
        running.add(process)
        try:
            answered, fault = process.communicate(json.dumps(task), timeout=seconds)
        except subprocess.TimeoutExpired:
            end(process)
            answered, fault = process.communicate()
        finally:
            end(process)
            running.discard(process)
    lines = [json.loads(line) for line in answered.splitlines() if line.endswith("]")]
    return lines, process.returncode if lines else (fault.strip().splitlines() or [told(process.returncode)])[-1]


def end(process):
    """End a process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


# ---------------------------------------------------------------------------------------------------------------------
# The other process
# ---------------------------------------------------------------------------------------------------------------------

class Changed:
    """What the checks stand on: an answer that puts something else in its place is found, and the right thing put back.
    """

    def __init__(self):
        modules = [builtins, np, *(module for name, module in sys.modules.items() if name.startswith("twins_lib"))]
        self.right = [(module, name, value) for module in modules for name, value in vars(module).items()
                      if callable(value)]

    def names(self):
        """The names that were changed since the last call."""
        found = [(module, name, value) for module, name, value in self.right if vars(module).get(name) is not value]
        for module, name, value in found:
            setattr(module, name, value)
        return [f"{module.__name__}.{name}" for module, name, _ in found]


def answer(task, say):
    """Run the steps of a task; `say` gets ["step", number] before each and ["judged", exercise, verdict, said]."""
    from twins_lib import teach

    checks = importlib.import_module(f"twins_lib.teach.checks.lesson_{task['lesson']}")
    judges = {name: getattr(checks, name).judge for _, calls in task["steps"] for name in calls}
    teach.begin()
    os.dup2(1, 2)   # from here on nobody listens
    changed, there = Changed(), {"__name__": "__main__"}
    for number, (source, calls) in enumerate(task["steps"]):
        if number in task["stuck"]:
            continue
        say(["step", number])
        signal.alarm(task["seconds"])   # kills this process; nothing in the answer can catch it
        fault = run(source, there)
        for name, arguments in calls.items():
            if name not in task["done"]:
                verdict, said = ("wrong", fault) if fault else verdict_of(judges[name], arguments, there)
                if tricks := changed.names():
                    verdict, said = "wrong", f"the answer changes {', '.join(tricks)}, which checks stand on"
                say(["judged", name, verdict, said])
    signal.alarm(0)
    say(["end"])


def run(source, there):
    """Run a cell; what it stopped with, or None."""
    try:
        exec(compile(source, "the cell", "exec"), there)
    except BaseException as error:   # also SystemExit
        return f"the cell stopped with {named(error)}"


def named(error):
    """An error in words; one that says nothing, as SystemExit, by its name alone."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def verdict_of(judge, arguments, there):
    """What a check says of its arguments, without its mark and name."""
    try:
        verdict, line = judge(*eval(arguments, there))
    except BaseException as error:
        return "wrong", f"the answer stopped with {named(error)}"
    return verdict, line.partition(": ")[2]


def limit():
    """Keep the answers from taking all memory or all of the disk."""
    import resource

    for what, most in ((resource.RLIMIT_DATA, MEMORY), (resource.RLIMIT_FSIZE, FILE)):
        resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def main():
    task, channel = json.load(sys.stdin), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)   # what an answer prints is not an answer
    limit()
    answer(task, lambda line: print(json.dumps(line), file=channel, flush=True))


if __name__ == "__main__":
    main()
