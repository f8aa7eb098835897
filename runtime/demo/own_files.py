"""The user's own files for `mianjiao demo --files`: any kind, any depth, any name."""

from dataclasses import dataclass
from pathlib import Path

from runtime.demo.errors import FilesFolderMissing

MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Passed:
    """A file that is not played, by its name, and why."""

    name: str
    code: str
    zh: str
    en: str


def find(folder: Path | None) -> tuple[list[tuple[Path, str]], list[Passed]]:
    """Every plain file under `folder` with the name it gets, and those passed over.

    The name is the path inside the folder. Empty files are refused by name, as
    the service would; links are not followed.
    """
    if folder is None:
        return [], []
    if not folder.is_dir():
        raise FilesFolderMissing(path=str(folder))
    taken: list[tuple[Path, str]] = []
    passed: list[Passed] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            passed.append(Passed(name, "file_kind", "不是普通文件", "not a plain file"))
        elif path.is_file() and path.stat().st_size == 0:
            passed.append(
                Passed(name, "empty_file", "文件为空，不能存证", "an empty file is no evidence")
            )
        elif path.is_file():
            taken.append((path, name if len(name) <= MAX_NAME else "…" + name[1 - MAX_NAME :]))
    return taken, passed
