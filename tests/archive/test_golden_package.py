"""Packages of version 1, written once and kept: new software must go on accepting them.

One without evidence from outside, and one with all there is. To make the second anew after
a deliberate change of what is written (never of what is accepted):
`python -m tests.archive.test_golden_package`.
"""

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Any

from archive.checks import check_package
from archive.reading import file_blocks, read_folder, read_packed
from archive.stored_zip import ZipMember, zip_blocks
from kernel.clock import parse_time
from ledger.anchor_checks import AnchorState
from ledger.demands import parse_demands
from ledger.policy import parse_policy

VECTORS = Path(__file__).parents[1] / "vectors" / "archive"
PACKED = VECTORS / "package-v1.zip"
POLICY = VECTORS / "package-v1.policy"
EVIDENCED, EVIDENCED_POLICY, EVIDENCED_DEMANDS = (
    VECTORS / f"package-v1-evidence.{ending}" for ending in ("zip", "policy", "demands.toml")
)


def test_the_kept_package_is_still_accepted() -> None:
    package = read_packed(PACKED)
    report = check_package(package.members, package.texts, parse_policy(POLICY.read_bytes()))
    assert [*package.findings, *report.findings] == []
    assert len(report.receipts) == 10


def test_the_kept_package_is_still_accepted_when_another_program_unpacked_it(
    tmp_path: Path,
) -> None:
    with zipfile.ZipFile(PACKED) as packed:
        packed.extractall(tmp_path)
    package = read_folder(tmp_path / "package")
    report = check_package(package.members, package.texts, parse_policy(POLICY.read_bytes()))
    assert [*package.findings, *report.findings] == []


def test_the_kept_package_is_the_one_that_was_kept() -> None:
    # A changed vector proves nothing: its digest stands here.
    digests = [hashlib.sha256(one.read_bytes()).hexdigest() for one in (PACKED, EVIDENCED)]
    assert digests == [
        "525e4859ecccb2314d396c3c4a2db20377578361f67c80bf1d3f493c8ce423b3",
        "83ea58c07073c962f9af60213056916bfdc06d21db2cbaeb403bfc794984964e",
    ]


def test_the_kept_evidence_still_meets_the_kept_demands() -> None:
    package = read_packed(EVIDENCED)
    policy = parse_policy(EVIDENCED_POLICY.read_bytes())
    demands = parse_demands(EVIDENCED_DEMANDS.read_bytes())
    report = check_package(package.members, package.texts, policy, demands)
    assert [*package.findings, *report.findings] == []
    (checkpoint,) = report.checkpoints
    assert checkpoint.evidence.post_quantum
    assert set(checkpoint.evidence.cosignatures) == {"w"}
    for item in report.receipts:
        held = [(one.name, one.state) for one in item.evidence.anchors]
        assert held == [("city chain", AnchorState.HOLDS), ("authority", AnchorState.HOLDS)]
        assert item.evidence.anchors[1].renewals == 1


def test_the_same_case_is_described_as_it_was(package: Any, tmp_path: Path) -> None:
    package.write(tmp_path / "package")
    with zipfile.ZipFile(PACKED) as packed:
        for name in ("case.json", "case.xml", "process.xml", "manifest-sha256.txt"):
            kept = packed.read(f"package/{name}")
            assert (tmp_path / "package" / name).read_bytes() == kept, name


def pack(made: Any, folder: Path) -> bytes:
    """The package, written into `folder` and packed."""
    made.write(folder / "package")
    members = []
    for path in sorted(item for item in (folder / "package").rglob("*") if item.is_file()):
        data = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        members.append(ZipMember(name, len(data), zlib.crc32(data)))
    at = parse_time("2026-11-24T05:20:21.123Z")
    return b"".join(zip_blocks(members, at, lambda item: file_blocks(folder / item.name)))


if __name__ == "__main__":
    import tempfile

    from tests.archive.evidenced import make_evidenced

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        evidenced = make_evidenced(work / "authority")
        EVIDENCED.write_bytes(pack(evidenced.package, work))
    EVIDENCED_POLICY.write_bytes(evidenced.policy)
    EVIDENCED_DEMANDS.write_bytes(evidenced.demands)
    print(hashlib.sha256(EVIDENCED.read_bytes()).hexdigest())
