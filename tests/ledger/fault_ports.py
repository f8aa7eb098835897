"""Ports that fail once, at a named step, before or after the effect; they check themselves.

A fault means: the call raises `Injected`, and nothing, half, or all of its
effect is stored. The wrapped tiles fail the test when an immutable path ever
changes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Injected(Exception):
    """The fault of the test."""


class When(Enum):
    BEFORE = "fails and is not persisted"
    HALF = "fails and is half persisted"
    AFTER = "is persisted and fails"


STEPS = (
    "take_over",
    "read_leaves",
    "stage",
    "put",
    "read_back",
    "sign",
    "commit",
    "publish",
    "discard",
)


@dataclass
class Fault:
    """Raises at the `count`-th call of `step`."""

    step: str
    when: When
    count: int = 1
    reached: bool = False

    def call(self, step: str, work: Callable[[], Any], half: Callable[[], Any]) -> Any:
        if step != self.step or self.reached:
            return work()
        self.count -= 1
        if self.count > 0:
            return work()
        self.reached = True
        if self.when is When.HALF:
            half()
        elif self.when is When.AFTER:
            work()
        raise Injected(step)


@dataclass
class FaultyTiles:
    """A `TileStore` around a real one. `put` and what is stored must never contradict."""

    inner: Any
    fault: Fault
    known: dict[str, bytes] = field(default_factory=dict)

    def put(self, blobs: Mapping[Any, bytes]) -> None:
        for path, data in blobs.items():
            assert self.known.setdefault(path.text, data) == data, f"{path.text} changed"
        first_half = dict(list(blobs.items())[: len(blobs) // 2])
        self.fault.call("put", lambda: self.inner.put(blobs), lambda: self.inner.put(first_half))

    def get(self, path: Any) -> bytes:
        data: bytes = self.fault.call(
            "read_back", lambda: self.inner.get(path), lambda: self.inner.get(path)
        )
        assert self.known.get(path.text, data) == data, f"{path.text} changed"
        return data

    def get_many(self, paths: Iterable[Any]) -> dict[Any, bytes]:
        return {path: self.get(path) for path in paths}

    def publish(self, checkpoint: bytes) -> None:
        self.fault.call("publish", lambda: self.inner.publish(checkpoint), lambda: None)

    def checkpoint(self) -> bytes | None:
        found: bytes | None = self.inner.checkpoint()
        return found

    def names(self) -> Iterator[str]:
        yield from self.inner.names()

    def discard_partials(self, path: Any) -> None:
        self.fault.call("discard", lambda: self.inner.discard_partials(path), lambda: None)

    def discard(self, path: Any) -> None:
        raise AssertionError("only a restore takes back what was written")

    def sweep(self) -> None:
        self.inner.sweep()


@dataclass
class FaultySigner:
    inner: Any
    fault: Fault

    @property
    def key(self) -> Any:
        return self.inner.key

    def prepare(self) -> None:
        self.inner.prepare()

    def sign(self, text: str) -> bytes:
        signature: bytes = self.fault.call("sign", lambda: self.inner.sign(text), lambda: None)
        return signature


@dataclass
class FaultyDatabase:
    """The sequencer's three writes in their order are take-over, stage and commit."""

    inner: Any
    fault: Fault
    names: list[str] = field(default_factory=lambda: ["take_over"])

    def write(self, work: Callable[[Any], Any]) -> Any:
        name = self.names.pop(0) if self.names else "stage"
        if name == "stage":
            self.names = ["commit"]

        def fails_inside() -> None:
            def half(tx: Any) -> None:
                work(tx)
                raise Injected(name)

            self.inner.write(half)

        return self.fault.call(name, lambda: self.inner.write(work), fails_inside)

    @contextmanager
    def read(self) -> Iterator[Any]:
        self.fault.call("read_leaves", lambda: None, lambda: None)
        with self.inner.read() as tx:
            yield tx
