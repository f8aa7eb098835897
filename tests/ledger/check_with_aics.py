"""Checks a log folder with `aics-tlog`, which others wrote; runs in its own environment.

Reads one JSON object from standard input: `folder`, `vkey`, `checkpoint` (text),
`inclusion` ([index, entry hex, hashes hex…] each), `consistency` ([old size, old
root hex, hashes hex…] each). Prints one JSON object: what it found.
"""

import json
import sys

from aics_tlog.checkpoint import checkpoint_from_note, verify_checkpoint
from aics_tlog.note import parse_vkey
from aics_tlog.tiles import (
    FileSystemTileReader,
    consistency_proof_from_tiles,
    inclusion_proof_from_tiles,
)
from aics_tlog.tree import verify_consistency, verify_leaf_inclusion
from aics_tlog.verified import audit_tiles

given = json.load(sys.stdin)
head, note = checkpoint_from_note(given["checkpoint"])
result = verify_checkpoint(note, parse_vkey(given["vkey"]), expected_origin=given["origin"])
reader = FileSystemTileReader(given["folder"])
report = audit_tiles(reader, head.size, head.root)
inclusion = []
for index, entry, *hashes in given["inclusion"]:
    proof = [bytes.fromhex(one) for one in hashes]
    inclusion.append(
        verify_leaf_inclusion(bytes.fromhex(entry), index, head.size, proof, head.root)
        and proof == inclusion_proof_from_tiles(reader, index, head.size)
    )
consistency = []
for old, root, *hashes in given["consistency"]:
    proof = [bytes.fromhex(one) for one in hashes]
    consistency.append(
        verify_consistency(old, head.size, bytes.fromhex(root), head.root, proof)
        and proof == consistency_proof_from_tiles(reader, old, head.size)
    )
print(
    json.dumps(
        {
            "signed": result.ok and result.log_ok,
            "size": head.size,
            "root": head.root.hex(),
            "tiles": report.tiles,
            "bundles": report.bundles,
            "inclusion": all(inclusion) and bool(inclusion),
            "consistency": all(consistency) and bool(consistency),
        }
    )
)
