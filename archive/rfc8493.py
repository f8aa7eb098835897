"""BagIt 1.0 (RFC 8493): the text of its files. Pure; what we write and the stricter
form that we accept.

The RFC lets manifests separate digest and path by any white space and write hex in
either case. Here one line is exactly `<lower-case hex>  <path>`: it is what
`sha256sum -c` reads, and a changed byte cannot hide in what the form leaves open.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from archive.findings import Finding, finding

DECLARATION: Final = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
# Two algorithms, so that the package outlives one of them. Hex digits per algorithm.
ALGORITHMS: Final[Mapping[str, int]] = {"sha256": 64, "sha512": 128}
PAYLOAD: Final = "data/"
MANIFESTS: Final = tuple(f"manifest-{name}.txt" for name in ALGORITHMS)
TAGMANIFESTS: Final = tuple(f"tagmanifest-{name}.txt" for name in ALGORITHMS)
REQUIRED: Final = ("bagit.txt", "bag-info.txt", *MANIFESTS, *TAGMANIFESTS)

MAX_PATH: Final = 200
MAX_DEPTH: Final = 8
# Letters, digits and a few marks: names that every file system and `unzip` keeps.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-]*")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a package: size in bytes, digests as lower-case hex (`sm3` may be empty:
    not computed)."""

    size: int
    sha256: str
    sha512: str
    sm3: str

    def digest(self, algorithm: str) -> str:
        return {"sha256": self.sha256, "sha512": self.sha512, "sm3": self.sm3}[algorithm]


def path_problem(path: str) -> str | None:
    """Why `path` may not stand in a package, in English; None when it may.

    A path is relative, `/`-separated, ASCII, without empty, `.` or `..` parts, at
    most 8 deep and 200 long.
    """
    if not path or len(path) > MAX_PATH:
        return "length"
    if path.startswith("/"):
        return "absolute"
    parts = path.split("/")
    if len(parts) > MAX_DEPTH:
        return "depth"
    for part in parts:
        if part in ("", ".", ".."):
            return "traversal"
        if not _NAME.fullmatch(part):
            return "characters"
        if part.endswith(".") or _RESERVED.fullmatch(part):
            return "reserved name"
    return None


def encode_path(path: str) -> str:
    """RFC 8493 §2.1.3: CR, LF and % are percent-encoded in manifests."""
    return path.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def decode_path(text: str) -> str:
    """The inverse. Any other `%` is a `ValueError`."""
    if re.search(r"%(?!25|0D|0A)", text):
        raise ValueError("a percent sign that encodes nothing of ours")
    return text.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")


def write_manifest(entries: Mapping[str, str]) -> bytes:
    """The manifest of `path: hex digest`, sorted by path."""
    lines = (f"{digest}  {encode_path(path)}\n" for path, digest in sorted(entries.items()))
    return "".join(lines).encode("utf-8")


def read_manifest(name: str, data: bytes, digits: int) -> tuple[dict[str, str], list[Finding]]:
    """The entries of a manifest and what is wrong with it. Paths are checked and decoded."""
    entries: dict[str, str] = {}
    findings: list[Finding] = []
    form = re.compile(rf"([0-9a-f]{{{digits}}})  (\S(?:.*\S)?)")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return entries, [finding("manifest_malformed", name, "?")]
    lines = text.split("\n")
    if lines.pop() != "":
        findings.append(finding("manifest_malformed", name, len(lines) + 1))
    for number, line in enumerate(lines, 1):
        match = form.fullmatch(line)
        try:
            path = decode_path(match[2]) if match else None
        except ValueError:
            path = None
        if match is None or path is None:
            findings.append(finding("manifest_malformed", name, number))
            continue
        problem = path_problem(path)
        if problem is not None:
            findings.append(finding("path_refused", path, problem))
        elif path in entries:
            findings.append(finding("manifest_duplicate", path))
        else:
            entries[path] = match[1]
    return entries, findings


def write_info(items: Iterable[tuple[str, str]]) -> bytes:
    """`bag-info.txt` (RFC 8493 §2.2.2) of labels and one-line values."""
    lines = []
    for label, value in items:
        if not _LABEL.fullmatch(label) or not value.isprintable() or value != value.strip():
            raise ValueError(f"not a line of bag-info.txt: {label}")
        lines.append(f"{label}: {value}\n")
    return "".join(lines).encode("utf-8")


def read_info(data: bytes) -> Sequence[tuple[str, str]] | None:
    """Labels and values; None when malformed. Continuation lines are joined."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not text.endswith("\n"):
        return None
    items: list[tuple[str, str]] = []
    for line in text[:-1].split("\n"):
        if line[:1] in (" ", "\t") and items:
            label, value = items[-1]
            items[-1] = (label, f"{value} {line.strip()}")
            continue
        label, separator, value = line.partition(": ")
        if not separator or not _LABEL.fullmatch(label):
            return None
        items.append((label, value))
    return items


def oxum(sizes: Iterable[int]) -> str:
    """`Payload-Oxum`: octets, a dot, number of payload files."""
    sizes = list(sizes)
    return f"{sum(sizes)}.{len(sizes)}"


def check_bag(members: Mapping[str, Member], texts: Mapping[str, bytes]) -> list[Finding]:
    """Whether the files are exactly those of the manifests and have their digests.

    `members` are all files found, `texts` the bytes of the tag files. Stricter
    than the RFC: both tag manifests are required and list every other tag file,
    `fetch.txt` is refused, and names follow `path_problem`.
    """
    findings = [finding("tag_file_missing", name) for name in REQUIRED if name not in texts]
    findings += _check_names(members)
    if "fetch.txt" in members:
        findings.append(finding("fetch_refused", "fetch.txt"))
    if texts.get("bagit.txt", DECLARATION) != DECLARATION:
        findings.append(finding("bag_declaration", "bagit.txt"))
    payload = {path for path in members if path.startswith(PAYLOAD)}
    tags = members.keys() - payload - set(TAGMANIFESTS)
    findings += _check_info(texts.get("bag-info.txt"), [members[path].size for path in payload])
    for names, expected in ((MANIFESTS, payload), (TAGMANIFESTS, tags)):
        findings += _check_manifests(names, expected, members, texts)
    return findings


def _check_names(members: Mapping[str, Member]) -> list[Finding]:
    findings = []
    seen: set[str] = set()
    for path in members:
        problem = path_problem(path)
        if problem is not None:
            findings.append(finding("path_refused", path, problem))
        if path.casefold() in seen:
            findings.append(finding("name_collision", path))
        seen.add(path.casefold())
    return findings


def _check_info(data: bytes | None, payload_sizes: Sequence[int]) -> list[Finding]:
    if data is None:
        return []  # already named as missing
    items = read_info(data)
    if items is None:
        return [finding("bag_info", "bag-info.txt", "lines")]
    stated = [value for label, value in items if label == "Payload-Oxum"]
    if len(stated) != 1:
        return [finding("bag_info", "bag-info.txt", "Payload-Oxum")]
    return [] if stated[0] == oxum(payload_sizes) else [finding("oxum_mismatch", "bag-info.txt")]


def _check_manifests(
    names: Sequence[str],
    expected: Iterable[str],
    members: Mapping[str, Member],
    texts: Mapping[str, bytes],
) -> list[Finding]:
    findings: list[Finding] = []
    listings: list[set[str]] = []
    for name, (algorithm, digits) in zip(names, ALGORITHMS.items(), strict=True):
        if name not in texts:
            continue
        entries, problems = read_manifest(name, texts[name], digits)
        findings += problems
        listings.append(set(entries))
        for path, digest in entries.items():
            member = members.get(path)
            if member is None:
                findings.append(finding("file_missing", path))
            elif member.digest(algorithm) != digest:
                findings.append(finding("digest_mismatch", path, algorithm))
    wanted = set(expected)
    listed = set().union(*listings)
    findings += [finding("file_stray", path) for path in sorted(wanted - listed)]
    for path in sorted(listed):
        if not all(path in listing for listing in listings):
            findings.append(finding("manifest_disagree", path))
        if path in members and path not in wanted:
            findings.append(finding("manifest_scope", path))
    return findings
