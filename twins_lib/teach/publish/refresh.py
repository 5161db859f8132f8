"""Run notebooks and store their outputs: what `make refresh` does after a lesson was edited.

    python -m twins_lib.teach.publish.refresh notebooks/01_patch_embedding.ipynb
    python -m twins_lib.teach.publish.refresh --times notebooks/01_patch_embedding.ipynb    only names slow cells
"""

import argparse
import os
import sys
import time

import nbformat
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from ...training.benchmarks import machine
from ...weights import CannotWrite, place, write_whole

CELL_TIMEOUT = 600  # seconds; nbval gets the same limit
SLOW = 2            # seconds; a cell that takes as long is named by --times


class NotebookFailed(Exception):
    """A notebook that did not run to its end; the message names the notebook, the cell and the error."""


async def run_async(path, folder=None, seconds=None):
    """Run a notebook from its first cell to its last.

    Args:
        path (Path): the notebook; the file is not changed.
        folder (Path): where it runs, as its kernel's working directory; its own folder if None.
        seconds (list): the seconds of each cell are put in here, if it is given.

    Returns:
        The notebook with its outputs, ready for `write`: kernel python3, no trace of the machine that ran it.

    Raises:
        NotebookFailed: a cell stopped with an error, took more than 600 s, or took the kernel with it.
    """
    # ipykernel shows what C++ code prints unless this variable is set. pytest sets it, so nbval never sees such
    # output; the stored outputs must be made in the same way to be equal to nbval's.
    os.environ["PYTEST_CURRENT_TEST"] = "refresh"
    notebook = _read(path)
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT, kernel_name="python3", record_timing=False,
                            store_widget_state=False, resources={"metadata": {"path": str(folder or path.parent)}})
    # The kernel's own warning (it talks over TCP) would stand in the middle of the progress lines.
    client.extra_arguments = ["--IPKernelApp.log_level=ERROR"]
    client.reset_execution_trackers()
    await _run_cells(client, path, [] if seconds is None else seconds)
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                         "language_info": {"name": "python"}}
    return notebook


run = run_sync(run_async)


async def _run_cells(client, path, seconds):
    place = "the start of its kernel"
    try:
        async with client.async_setup_kernel():
            for index, cell in enumerate(client.nb.cells):
                place = f"cell {index + 1} ({_first_line(cell)})"
                start = time.perf_counter()
                await client.async_execute_cell(cell, index)
                seconds.append(time.perf_counter() - start)
    except CellTimeoutError:
        raise NotebookFailed(f"{path}, {place}: still running after {CELL_TIMEOUT} s") from None
    except CellExecutionError as error:
        raise NotebookFailed(f"{path}, {place}: {error.ename}: {error.evalue}") from None
    except (DeadKernelError, RuntimeError) as error:
        raise NotebookFailed(f"{path}, {place}: {error}") from None


def write(notebook, path):
    """Store a notebook in one step, so that an interruption leaves the old file whole."""
    write_whole(path, (nbformat.writes(notebook).rstrip("\n") + "\n").encode())


def _read(path):
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise NotebookFailed(f"{path}: there is no such notebook") from None
    except Exception as error:  # broken JSON, or JSON that is no notebook
        raise NotebookFailed(f"{path}: not a notebook that can be read ({error})") from None


def _first_line(cell):
    return (cell.source.strip().splitlines() or ["empty"])[0]


def slow_cells(notebook, seconds):
    """One line for each cell that took long: its seconds, its number, the heading above it and its first line."""
    heading, lines = "", []
    for number, (cell, taken) in enumerate(zip(notebook.cells, seconds), start=1):
        if cell.cell_type == "markdown":
            heading = ([line for line in cell.source.splitlines() if line.startswith("#")] or [heading])[-1]
        elif taken >= SLOW:
            lines.append(f"  {taken:5.1f} s  cell {number}, under “{heading.lstrip('# ')}”: {_first_line(cell)}")
    return lines


async def print_times(path):
    """Run a notebook, store nothing, and print the line of each slow cell."""
    seconds = []
    notebook = await run_async(path, seconds=seconds)
    print(f"{path}: {sum(seconds):.0f} s in its cells", *slow_cells(notebook, seconds), sep="\n")


async def run_to(copy, path, folder=None):
    """Run a notebook and store it, with its outputs, at the path `copy`."""
    write(await run_async(path, folder), copy)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m twins_lib.teach.publish.refresh",
                                     description=__doc__.splitlines()[0],
                                     epilog="A notebook that fails keeps the outputs that it had.")
    parser.add_argument("notebooks", nargs="+", type=place, metavar="NOTEBOOK")
    parser.add_argument("--times", action="store_true",
                        help=f"run them, store nothing, and name the cells that take {SLOW} s or more")
    told_to = parser.parse_args(arguments)
    if told_to.times:
        here = machine()
        print(f"{here['cpu']}, {here['cores']} cores; Python {here['python']}, mindspore {here['mindspore']}")
        done = [run_told(path, print_times(path)) for path in told_to.notebooks]
    else:
        done = [run_told(path, run_to(path, path)) for path in told_to.notebooks]
    return 0 if all(done) else 1


async def told(path, work):
    """Await the work on a notebook and print one line: its name, and its seconds or what went wrong.

    Returns:
        True if it was done.
    """
    start = time.perf_counter()
    try:
        await work
    except (NotebookFailed, CannotWrite) as error:
        print(f"{path} ... FAILED\n  {error}", flush=True)
        return False
    print(f"{path} ... {time.perf_counter() - start:.1f} s", flush=True)
    return True


run_told = run_sync(told)


if __name__ == "__main__":
    sys.exit(main())
