"""A progress bar on the terminal, fed by `tell(what, done, total)`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

Tell = Callable[[str, int, int], None]


@contextmanager
def bar(console: Console, names: Mapping[str, str]) -> Iterator[Tell]:
    """A line for each of `names` once it is told of; nothing where no person looks."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as shown:
        tasks = {
            what: shown.add_task(name, total=None, visible=False) for what, name in names.items()
        }

        def tell(what: str, done: int, total: int) -> None:
            shown.update(tasks[what], completed=done, total=total, visible=True)

        yield tell
