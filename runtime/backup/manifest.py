"""`backup.json`: what a whole backup consists of. Written last; without it there is no backup."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from kernel.canonical import canonical_bytes

FORMAT = "mianjiao.backup/v1"
MANIFEST = "backup.json"


@dataclass(frozen=True, slots=True)
class Tree:
    """The log of one shard: how many leaves, and the root in hex."""

    shard: str
    size: int
    root: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`head`: the tree that the rows know; `log`: the trees that lie in `log/`, at least as new.
    `vkeys`: the log's own keys.

    `key_epochs`: oldest and newest epoch that wraps a key of these rows; None without any.
    `damaged`: keys of objects that were missing or damaged in the store already.
    """

    made_at: str
    schema: str
    origin: str
    vkeys: tuple[str, ...]
    head: Tree
    log: tuple[Tree, ...]
    rows_file: str
    rows_bytes: int
    rows_sha256: str
    row_counts: Mapping[str, int]
    objects: int
    object_bytes: int
    damaged: tuple[str, ...]
    key_epochs: tuple[int, int] | None

    def encode(self) -> bytes:
        content: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **asdict(self)}))
        digest = sha256(canonical_bytes(content)).hexdigest()
        said = {**content, "sha256": digest}
        return json.dumps(said, indent=1, sort_keys=True).encode() + b"\n"


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest; anything that `encode` would not write is a `ValueError`."""
    try:
        content = json.loads(data)
        digest = content.pop("sha256")
        if digest != sha256(canonical_bytes(content)).hexdigest():
            raise ValueError("its digest is wrong")
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        content["head"] = Tree(**content["head"])
        content["log"] = tuple(Tree(**one) for one in content["log"])
        content["damaged"] = tuple(content["damaged"])
        content["vkeys"] = tuple(content["vkeys"])
        epochs = content["key_epochs"]
        content["key_epochs"] = None if epochs is None else (epochs[0], epochs[1])
        return Manifest(**content)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError("not a manifest") from error
