"""A package of version 1, written once and kept: new software must go on accepting it.

To make the file anew after a deliberate change of what is written (never of what is
accepted): `python tests/archive/test_golden_package.py`.
"""

import hashlib
import shutil
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

from archive.checks import check_package
from archive.reading import file_blocks, read_folder, read_packed
from archive.stored_zip import ZipMember, zip_blocks
from kernel.clock import parse_time
from ledger.policy import parse_policy

VECTORS = Path(__file__).parents[1] / "vectors" / "archive"
PACKED = VECTORS / "package-v1.zip"
POLICY = VECTORS / "package-v1.policy"


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
    digest = hashlib.sha256(PACKED.read_bytes()).hexdigest()
    assert digest == "525e4859ecccb2314d396c3c4a2db20377578361f67c80bf1d3f493c8ce423b3"


def test_the_same_case_is_described_as_it_was(package: Any, tmp_path: Path) -> None:
    package.write(tmp_path / "package")
    with zipfile.ZipFile(PACKED) as packed:
        for name in ("case.json", "case.xml", "process.xml", "manifest-sha256.txt"):
            kept = packed.read(f"package/{name}")
            assert (tmp_path / "package" / name).read_bytes() == kept, name


def generate(made: Any, folder: Path) -> None:
    """Write the vector from the made-up case of `conftest.py`, whose keys are fixed."""
    made.write(folder / "package")
    members = []
    for path in sorted(item for item in (folder / "package").rglob("*") if item.is_file()):
        data = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        members.append(ZipMember(name, len(data), zlib.crc32(data)))
    at = parse_time("2026-11-24T05:20:21.123Z")
    blocks = zip_blocks(members, at, lambda item: file_blocks(folder / item.name))
    VECTORS.mkdir(parents=True, exist_ok=True)
    PACKED.write_bytes(b"".join(blocks))
    POLICY.write_bytes(made.log.policy)


if __name__ == "__main__":
    import tempfile

    sys.path.insert(0, str(Path(__file__).parent))
    from conftest import make_package

    work = Path(tempfile.mkdtemp())
    generate(make_package(), work)
    shutil.rmtree(work)
    print(hashlib.sha256(PACKED.read_bytes()).hexdigest())
