"""BagIt: our writer against the outside checker, and our checks against changed bags."""

import shutil
from pathlib import Path

import bagit
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive import rfc8493
from archive.bag import BagSummary, BagWriter
from archive.errors import PackagePathRefused
from archive.findings import Finding
from archive.reading import read_folder


def make_bag(root: Path) -> BagSummary:
    writer = BagWriter(root)
    writer.add_bytes("data/materials/0001/0001.pdf", b"%PDF-1.7 " + bytes(range(256)))
    writer.add("data/materials/0002/0001.bin", (bytes([n]) * 999 for n in range(9)))
    writer.add_bytes("receipts/ent_1.json", b"{}\n")
    writer.add_bytes("README.txt", "说明\n".encode())
    return writer.finish([("External-Identifier", "310199-20261124-000001")])


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    root = tmp_path / "bag"
    make_bag(root)
    return root


def problems(root: Path) -> list[Finding]:
    package = read_folder(root)
    return package.findings + rfc8493.check_bag(package.members, package.texts)


def codes(root: Path) -> set[str]:
    return {item.code for item in problems(root)}


def test_the_outside_checker_accepts_our_bag(bag: Path) -> None:
    outside = bagit.Bag(str(bag))
    assert outside.validate()
    assert sorted(outside.algorithms) == ["sha256", "sha512"]
    assert len(list(outside.tagmanifest_files())) == 2
    assert outside.info["Payload-Oxum"] == f"{265 + 9 * 999}.2"
    assert outside.info["External-Identifier"] == "310199-20261124-000001"


def test_our_check_accepts_our_bag_and_finds_every_file(bag: Path) -> None:
    assert problems(bag) == []
    assert "data/materials/0002/0001.bin" in read_folder(bag).members


def test_writer_summary_counts_the_payload_and_names_the_tag_manifest(tmp_path: Path) -> None:
    summary = make_bag(tmp_path / "bag")
    assert (summary.payload_files, summary.payload_bytes) == (2, 265 + 9 * 999)
    package = read_folder(tmp_path / "bag")
    assert package.members["tagmanifest-sha256.txt"] == summary.tagmanifest


def test_an_empty_payload_is_still_a_bag(tmp_path: Path) -> None:
    BagWriter(tmp_path / "bag").finish([])
    assert problems(tmp_path / "bag") == []
    assert bagit.Bag(str(tmp_path / "bag")).validate()


def test_any_changed_byte_of_any_file_is_found(bag: Path) -> None:
    for path in sorted(item for item in bag.rglob("*") if item.is_file()):
        data = path.read_bytes()
        step = max(1, len(data) // 60)
        for position in range(0, len(data), step):
            for flip in (0x01, 0x20, 0x80):
                changed = bytearray(data)
                changed[position] ^= flip
                path.write_bytes(changed)
                assert problems(bag), f"{path.name} byte {position}"
        path.write_bytes(data)
    assert problems(bag) == []


def test_missing_and_extra_files_are_named(bag: Path) -> None:
    (bag / "data/materials/0001/0001.pdf").unlink()
    (bag / "data/extra.txt").write_bytes(b"x")
    (bag / "note.txt").write_bytes(b"x")
    (bag / "empty").mkdir()
    found = {(item.code, item.path) for item in problems(bag)}
    assert ("file_missing", "data/materials/0001/0001.pdf") in found
    assert ("file_stray", "data/extra.txt") in found
    assert ("file_stray", "note.txt") in found
    assert ("file_stray", "empty/") in found


@pytest.mark.parametrize("name", rfc8493.REQUIRED)
def test_every_required_file_is_required(bag: Path, name: str) -> None:
    (bag / name).unlink()
    assert "tag_file_missing" in codes(bag)


def test_links_are_never_followed(bag: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"x")
    (bag / "data" / "link").symlink_to(outside / "secret")
    (bag / "folder").symlink_to(outside)
    package = read_folder(bag)
    assert [item.code for item in package.findings] == ["symlink", "symlink"]
    assert not any("secret" in path or "link" in path for path in package.members)


def test_a_file_replaced_by_a_link_with_the_same_content_is_found(
    bag: Path, tmp_path: Path
) -> None:
    target = bag / "data/materials/0001/0001.pdf"
    shutil.copy(target, tmp_path / "copy.pdf")
    target.unlink()
    target.symlink_to(tmp_path / "copy.pdf")
    assert {"symlink", "file_missing"} <= codes(bag)


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("../etc/passwd", "traversal"),
        ("data/../../x", "traversal"),
        ("data//x", "traversal"),
        ("data/./x", "traversal"),
        ("/etc/passwd", "absolute"),
        ("data/a\\b", "characters"),
        ("data/a b", "characters"),
        ("data/中文.pdf", "characters"),
        ("data/a\nb", "characters"),
        ("C:/x", "characters"),
        ("data/.hidden", "characters"),
        ("data/nul.txt", "reserved name"),
        ("data/x.", "reserved name"),
        ("a/" * 9 + "x", "depth"),
        ("a" * 201, "length"),
        ("", "length"),
    ],
)
def test_hostile_paths_are_refused_when_read_and_when_written(
    tmp_path: Path, path: str, rule: str
) -> None:
    assert rfc8493.path_problem(path) == rule
    writer = BagWriter(tmp_path / "bag")
    with pytest.raises(PackagePathRefused):
        writer.add_bytes(path, b"x")
    writer.close()
    line = f"{'0' * 64}  {rfc8493.encode_path(path)}\n".encode()
    entries, found = rfc8493.read_manifest("manifest-sha256.txt", line, 64)
    assert entries == {}
    assert {item.code for item in found} <= {"path_refused", "manifest_malformed"}
    assert found


def test_a_manifest_line_outside_the_folder_is_refused_and_not_opened(bag: Path) -> None:
    (bag.parent / "outside.txt").write_bytes(b"x")
    for name in rfc8493.MANIFESTS:
        digits = rfc8493.ALGORITHMS[name[9:15]]
        with (bag / name).open("ab") as manifest:
            manifest.write(b"0" * digits + b"  data/../../outside.txt\n")
    assert "path_refused" in codes(bag)
    assert not any("outside" in path for path in read_folder(bag).members)


def test_names_that_differ_by_case_alone_are_refused(bag: Path, tmp_path: Path) -> None:
    (bag / "readme.TXT").write_bytes(b"x")
    assert "name_collision" in codes(bag)
    writer = BagWriter(tmp_path / "other")
    writer.add_bytes("data/A", b"x")
    with pytest.raises(PackagePathRefused):
        writer.add_bytes("data/a", b"x")
    writer.close()


def test_a_file_in_one_manifest_only_is_found(bag: Path) -> None:
    manifest = bag / "manifest-sha512.txt"
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join(lines[1:]))
    assert "manifest_disagree" in codes(bag)


def test_a_payload_file_in_the_tag_manifest_is_found(bag: Path) -> None:
    member = read_folder(bag).members["data/materials/0001/0001.pdf"]
    with (bag / "tagmanifest-sha256.txt").open("a") as manifest:
        manifest.write(f"{member.sha256}  data/materials/0001/0001.pdf\n")
    assert "manifest_scope" in codes(bag)


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace("  ", " "),
        lambda line: line.replace("  ", " *"),
        lambda line: line.replace("  ", "\t"),
        lambda line: line.upper(),
        lambda line: line.replace("\n", "\r\n"),
        lambda line: line.rstrip("\n"),
        lambda line: line.replace("\n", " \n"),
        lambda line: "# " + line,
        lambda line: line + "\n",
        lambda line: line[1:],
    ],
)
def test_manifests_have_exactly_one_form(change) -> None:  # type: ignore[no-untyped-def]
    line = f"{'ab' * 32}  data/x\n"
    assert rfc8493.read_manifest("m", line.encode(), 64) == ({"data/x": "ab" * 32}, [])
    _, found = rfc8493.read_manifest("m", change(line).encode(), 64)
    assert found


def test_a_path_listed_twice_is_found() -> None:
    line = f"{'ab' * 32}  data/x\n".encode()
    _, found = rfc8493.read_manifest("m", line + line, 64)
    assert [item.code for item in found] == ["manifest_duplicate"]


@given(st.text(alphabet=st.characters(codec="utf-8")))
@settings(max_examples=100)
def test_percent_encoding_round_trips_and_leaves_no_line_break(path: str) -> None:
    encoded = rfc8493.encode_path(path)
    assert "\n" not in encoded
    assert "\r" not in encoded
    assert rfc8493.decode_path(encoded) == path


@pytest.mark.parametrize("text", ["%", "%41", "%0a", "x%2", "%00"])
def test_other_percent_sequences_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="percent"):
        rfc8493.decode_path(text)


def test_wrong_oxum_fetch_and_declaration_are_named(bag: Path) -> None:
    info = bag / "bag-info.txt"
    info.write_bytes(info.read_bytes().replace(b".2\n", b".3\n"))
    (bag / "fetch.txt").write_bytes(b"https://example.invalid/ 1 data/x\n")
    (bag / "bagit.txt").write_bytes(b"BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n")
    assert {"oxum_mismatch", "fetch_refused", "bag_declaration"} <= codes(bag)


def test_bag_info_values_are_one_printable_line() -> None:
    with pytest.raises(ValueError, match="bag-info"):
        rfc8493.write_info([("External-Identifier", "a\nPayload-Oxum: 0.0")])
    items = [("Source-Organization", "云间区 市场监督管理局"), ("Bag-Count", "1 of 1")]
    assert rfc8493.read_info(rfc8493.write_info(items)) == items
    assert rfc8493.read_info(b"A: b\n  c\n") == [("A", "b c")]
    assert rfc8493.read_info(b"A b\n") is None
    assert rfc8493.read_info(b"\xff: b\n") is None


def test_a_folder_deeper_than_the_limit_is_not_entered(bag: Path) -> None:
    deep = bag / "data"
    for _ in range(12):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(b"x")
    assert "too_deep" in codes(bag)


def test_a_pipe_in_a_package_is_named_and_does_not_hang(bag: Path) -> None:
    import os

    os.mkfifo(bag / "data" / "pipe")
    assert "not_a_file" in codes(bag)


def test_a_tag_file_over_the_limit_is_named(bag: Path) -> None:
    with (bag / "huge.txt").open("wb") as stream:
        stream.truncate((16 << 20) + 1)
    assert "text_too_large" in codes(bag)
