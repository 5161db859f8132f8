"""Where the course lies, whatever folder a kernel works in: Jupyter starts it beside the lesson, VS Code elsewhere."""

from pathlib import Path


def course():
    """The folder that holds notebooks/: the nearest one above the working folder, else that of the library.

    Raises:
        FileNotFoundError: the library is installed apart from the course, and the kernel works outside of it.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "notebooks" / "assets").is_dir():
            return folder
    raise FileNotFoundError(f"the course's folder notebooks/ is neither above {here} nor beside twins_lib; "
                            "start the kernel within the course")


def asset(name):
    """The path of a file that lies beside the lessons, in notebooks/assets.

    Args:
        name (str): such as "ablation.json".

    Raises:
        FileNotFoundError: there is no such file, or no course.
    """
    path = course() / "notebooks" / "assets" / name
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; get the course again, or from its repository: git checkout "
                                f"notebooks/assets/{name}")
    return path
