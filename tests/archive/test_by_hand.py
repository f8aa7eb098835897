"""README.txt is true: its commands, with ordinary tools alone, verify a package."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ledger.keys import MLDSA44Cosigner
from tests.archive.conftest import ORIGIN
from tests.archive.evidenced import Evidenced, make_evidenced

LEASE = "data/materials/0001/0001.pdf"


Step = int | str  # "5A", "5B": to be chosen


def commands(root: Path, *steps: Step) -> str:
    """The commands of README.txt, those after `$`; of some steps, or of all but 5A and 5B."""
    text = (root / "README.txt").read_text(encoding="utf-8").split("\n#BEGIN check.py\n")[0]
    parts = re.split(r"^Step (\d[AB]?)[: ].*$", text, flags=re.MULTILINE)
    chosen = []
    for number, body in zip(parts[1::2], parts[2::2], strict=True):
        if number in map(str, steps) or (not steps and number.isdigit()):
            chosen += re.findall(r"^    \$ (.*)$", body, flags=re.MULTILINE)
    return "\n".join(chosen)


def follow(
    root: Path, vkey: str, receipt: str, *steps: Step, file: str = LEASE, pq_vkey: str = "",
    with_package: bool = False,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run the commands as a person would, stopping at the first that fails.

    A folder of links to the named tools is the whole PATH: nothing else is at hand.
    `with_package`: Python has `cryptography` of a version that knows ML-DSA-44.
    """
    tools = root.parent / ("tools-and-package" if with_package else "tools")
    if not tools.exists():
        tools.mkdir()
        python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else None
        for tool in ("sha256sum", "sed", "openssl", "mktemp", "find", "sort", "diff", "cat"):
            found = shutil.which(tool)
            assert found, f"{tool} is needed for this test"
            (tools / tool).symlink_to(found)
        if with_package or python is None:
            # By a script: a link would not find the packages that are beside it.
            (tools / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
            (tools / "python3").chmod(0o755)
        else:
            (tools / "python3").symlink_to(python)
    script = f"set -euo pipefail\nVKEY='{vkey}'\nRECEIPT='{receipt}'\nFILE='{file}'\n"
    script += f"PQVKEY='{pq_vkey}'\n"
    script += "" if 1 in steps or not steps else "WORK=$(mktemp -d)\n"
    return subprocess.run(
        [shutil.which("bash") or "/bin/bash", "-c", script + commands(root, *steps)],
        cwd=root,
        env={"PATH": str(tools), "TMPDIR": str(root.parent), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def lease(package: Any) -> str:
    return f"receipts/{package.case['materials'][0]['records'][0]}.json"


@pytest.fixture
def vkey(package: Any) -> str:
    key: str = package.log.signer.key.text
    return key


def test_the_instructions_verify_a_good_package(
    folder: Path, package: Any, lease: str, vkey: str
) -> None:
    done = follow(folder, vkey, lease)
    assert done.returncode == 0, done.stderr + done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].startswith("in the log: material.registered at 2026-11-24T04:20:25.123Z")
    assert "Signature Verified Successfully" in done.stdout
    stated = package.case["materials"][0]["files"][0]
    assert f"sha256 {stated['sha256']} sm3 {stated['sm3']}" in lines[1]
    assert f"{stated['sha256']}  {LEASE}" in lines
    assert any(line.endswith(f"= {stated['sm3']}") for line in lines)


def test_every_receipt_of_a_package_verifies_by_hand(folder: Path, vkey: str) -> None:
    for receipt in sorted((folder / "receipts").iterdir()):
        done = follow(folder, vkey, f"receipts/{receipt.name}")
        assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize("name", [LEASE, "case.json", "receipts", "checkpoints/2026"])
def test_step_one_finds_a_changed_file(folder: Path, lease: str, vkey: str, name: str) -> None:
    target = folder / name
    if target.is_dir():
        target = sorted(target.iterdir())[0]
    assert follow(folder, vkey, lease, 1).returncode == 0
    target.write_bytes(target.read_bytes()[:-2] + b"x\n")
    assert follow(folder, vkey, lease, 1).returncode != 0


def test_step_one_finds_missing_and_extra_files(folder: Path, lease: str, vkey: str) -> None:
    (folder / "data" / "extra").write_bytes(b"x")
    assert follow(folder, vkey, lease, 1).returncode != 0
    (folder / "data" / "extra").unlink()
    assert follow(folder, vkey, lease, 1).returncode == 0
    (folder / LEASE).unlink()
    assert follow(folder, vkey, lease, 1).returncode != 0


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"certified_copy", b"authority_copy"),
        lambda data: data.replace(b'"salt":"', b'"salt":"AA'),
        lambda data: data.replace(b"index 4", b"index 5"),
        lambda data: data.replace(b"archive.example/2026\\n15", b"archive.example/2027\\n15"),
    ],
)
def test_the_small_program_refuses_a_changed_receipt(  # type: ignore[no-untyped-def]
    folder: Path, lease: str, vkey: str, change
) -> None:
    assert follow(folder, vkey, lease, 2, 3).returncode == 0
    path = folder / lease
    data = path.read_bytes()
    path.write_bytes(change(data))
    assert path.read_bytes() != data
    done = follow(folder, vkey, lease, 2, 3)
    assert done.returncode != 0
    assert "in the log" not in done.stdout


def test_openssl_refuses_a_checkpoint_that_was_not_signed_so(
    folder: Path, lease: str, vkey: str
) -> None:
    path = folder / lease
    # The audit path fits a tree of 16 leaves too; the signature does not.
    path.write_bytes(path.read_bytes().replace(b"2026\\n15\\n", b"2026\\n16\\n"))
    assert follow(folder, vkey, lease, 2, 3).returncode == 0
    done = follow(folder, vkey, lease, 2, 3, 4)
    assert done.returncode != 0
    assert "Verified Successfully" not in done.stdout


def test_another_key_is_refused_by_name(folder: Path, package: Any, lease: str) -> None:
    stranger = type(package.log)(seed=b"\x09" * 32)
    done = follow(folder, stranger.signer.key.text, lease)
    assert done.returncode != 0  # its key id signed nothing here
    assert "NOT VALID: signature line" in done.stderr


# --- The post-quantum signature ---


@pytest.fixture(scope="module")
def evidenced_once(tmp_path_factory: pytest.TempPathFactory) -> Evidenced:
    return make_evidenced(tmp_path_factory.mktemp("evidenced") / "authority")


@pytest.fixture
def evidenced(evidenced_once: Evidenced, tmp_path: Path) -> tuple[Path, str, str, str]:
    """A package whose log signs with both keys: folder, its two keys, a receipt."""
    made = evidenced_once.package
    made.write(tmp_path / "package")
    first, second = (one.key.text for one in (made.log.signer, *made.log.more_signers))
    return tmp_path / "package", first, second, made.case["receipts"][3]["path"]


def openssl_knows() -> bool:
    """Whether the openssl at hand is 3.5 or newer: the form for it is tested only then."""
    told = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=False)
    found = re.match(r"OpenSSL (\d+)\.(\d+)", told.stdout)
    return found is not None and (int(found[1]), int(found[2])) >= (3, 5)


# An openssl that is older cannot do it: then 5A is not tested.
WAYS = ["5B", "5A"] if openssl_knows() else ["5B"]


@pytest.mark.parametrize("step", WAYS)
def test_the_post_quantum_signature_is_verified_by_hand(
    evidenced: tuple[Path, str, str, str], step: str
) -> None:
    folder, vkey, pq_vkey, receipt = evidenced
    said = {"5A": "Signature Verified Successfully", "5B": "ML-DSA-44 verified"}[step]
    done = follow(folder, vkey, receipt, 2, 3, step, pq_vkey=pq_vkey, with_package=True)
    assert done.returncode == 0, done.stderr + done.stdout
    assert said in done.stdout
    for key in (vkey, pq_vkey):
        assert key in (folder / "README.txt").read_text(encoding="utf-8")
    # The same log, another tree: the path fits 16 leaves too, the signature does not.
    path = folder / receipt
    path.write_bytes(path.read_bytes().replace(b"2026\\n15\\n", b"2026\\n16\\n"))
    done = follow(folder, vkey, receipt, 2, 3, pq_vkey=pq_vkey)
    assert done.returncode == 0, done.stderr
    done = follow(folder, vkey, receipt, 2, 3, step, pq_vkey=pq_vkey, with_package=True)
    assert done.returncode != 0
    assert said not in done.stdout


def test_without_the_key_there_is_nothing_to_verify_and_another_key_is_refused(
    evidenced: tuple[Path, str, str, str],
) -> None:
    folder, vkey, pq_vkey, receipt = evidenced
    assert follow(folder, vkey, receipt).returncode == 0  # all steps but that one
    done = follow(folder, vkey, receipt, 2, 3, "5B", with_package=True)
    assert done.returncode != 0
    assert "pq.der" in done.stderr
    stranger = MLDSA44Cosigner(ORIGIN, b"\x09" * 32).key.text
    for wrong in (stranger, vkey, pq_vkey[:-8] + "AAAAAAA="):
        done = follow(folder, vkey, receipt, 2, 3, pq_vkey=wrong)
        assert done.returncode != 0
        assert "NOT VALID" in done.stderr
