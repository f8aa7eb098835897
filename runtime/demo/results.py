"""What a demo leaves in `DIR-demo/`: receipts, the trust policy, packages, the papers."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.demo.own_files import Passed
from runtime.demo.stage import Stage


@dataclass(frozen=True, slots=True)
class Results:
    """The folders and files of one run; `packages` are folders."""

    receipts: Path
    policy: Path
    packages: list[Path]


def keep(stage: Stage, folder: Path, policy_text: str) -> Results:
    """Fetch every receipt, export the closed cases, write the policy.

    The policy lies apart from receipts and packages, as a verifier's own would.
    """
    receipts = folder / "receipts"
    receipts.mkdir()
    for thing, (path, caller) in stage.kept.receipts.items():
        (receipts / f"{thing}.json").write_bytes(stage[caller].receipt(path))
    packages = folder / "packages"
    packages.mkdir()
    made = [_export(stage, case, packages) for case in stage.packages]
    policy = folder / "policy.txt"
    policy.write_text(policy_text, encoding="utf-8")
    return Results(receipts, policy, made)


def summary(
    stage: Stage, results: Results, passed: list[Passed], origin: str, tree_size: int
) -> dict[str, Any]:
    """The one JSON object of `mianjiao demo --json`."""
    kept = stage.kept
    return {
        "origin": origin,
        "tree_size": tree_size,
        "cases": kept.cases,
        "materials": kept.materials,
        "licenses": kept.licenses,
        "verifications": kept.verifications,
        "receipts": str(results.receipts),
        "policy": str(results.policy),
        "packages": [str(path) for path in results.packages],
        "refused_files": [{"name": one.name, "code": one.code} for one in passed],
    }


def _export(stage: Stage, case: str, folder: Path) -> Path:
    """The archive makes the package; it is fetched as one ZIP and unpacked."""
    made = stage["archivist"].post(f"/v1/cases/{case}/exports")
    packed = folder / f"{case}.zip"
    stage["archivist"].download(f"/v1/exports/{made['export_id']}/package", packed)
    before = set(folder.iterdir())
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)
    packed.unlink()
    (unpacked,) = set(folder.iterdir()) - before
    beside = unpacked.with_name(unpacked.name + ".receipt.json")
    beside.write_bytes(stage["archivist"].receipt(made["receipt"]))
    return unpacked
