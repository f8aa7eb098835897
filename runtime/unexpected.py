"""What is logged of an error that nobody expected: where and what kind, never its text.

The text of an exception can hold anything that was being worked on, names and
citizen numbers included.
"""

import traceback
from collections.abc import Iterator

_FRAMES = 12
_CHAIN = 4


def describe(error: BaseException) -> str:
    """Types and places of an error and of what caused it, innermost place last.

    One line such as `ValueError at runtime.app:61 storage.database.writer:88`;
    `<-` leads to the cause. No message, no value, no path of this machine.
    """
    return " <- ".join(_one(item) for item in _chain(error))


def _one(error: BaseException) -> str:
    frames = list(traceback.walk_tb(error.__traceback__))[-_FRAMES:]
    places = [f"{frame.f_globals.get('__name__', '?')}:{line}" for frame, line in frames]
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    return f"{kind} at {' '.join(places)}" if places else kind


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(seen) < _CHAIN:
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            current = current.exceptions[0]
        elif current.__cause__ is not None or current.__suppress_context__:
            current = current.__cause__
        else:
            current = current.__context__
