"""Which rooms a process serves: all by default, or some, so that each can be scaled alone."""

from collections.abc import Collection
from enum import StrEnum

from runtime.errors import RoomUnknown


class Room(StrEnum):
    """What a process may do. The sequencer is elected: any number may stand by."""

    MATERIALS = "materials"  # cases, materials, grants, verifications, parties, pages
    LICENSES = "licenses"
    ARCHIVE = "archive"
    LOG = "log"  # checkpoint and tiles, as monitors and verifiers read them
    SEQUENCER = "sequencer"


ALL = frozenset(Room)


def parse_rooms(text: str | None) -> frozenset[Room]:
    """`materials,log` as a set; None is all. `RoomUnknown` names the first that is none."""
    if text is None:
        return ALL
    names = [name.strip() for name in text.split(",")]
    known = {room.value: room for room in Room}
    for name in names:
        if name not in known:
            raise RoomUnknown(room=name, known=", ".join(known))
    return frozenset(known[name] for name in names)


def rooms_text(rooms: Collection[Room]) -> str:
    """The set as `parse_rooms` reads it, in the order of `Room`."""
    return ",".join(room for room in Room if room in rooms)
