"""Archive offices in the catalogue: whose archives they keep, and mistakes in their lines."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from kernel.canonical import canonical_bytes
from materials_api.catalogue import Catalogue, load_catalogue
from materials_api.catalogue.changes import changes
from materials_api.catalogue.errors import CatalogueInvalid, ProblemCode
from materials_api.catalogue.loader import DEFAULT_FOLDER

AGAIN = """\
  - body: 12310199MB2Y04049F
    name: {zh: 馆, en: Office}
    keeps: [11310199MB2Y01016G]
"""


def test_a_catalogue_from_before_archive_offices_keeps_its_digest(catalogue: Catalogue) -> None:
    older = json.loads(catalogue.canonical)
    del older["archives"]
    content = canonical_bytes(older)
    parsed = Catalogue.parse(content)
    assert parsed.fonds == {}
    assert (parsed.canonical, parsed.sha256) == (content, hashlib.sha256(content).digest())


def test_the_district_archive_keeps_the_archives_of_every_deciding_body(
    catalogue: Catalogue,
) -> None:
    assert catalogue.fonds == {
        "12310199MB2Y04049F": {matter.department for matter in catalogue.matters}
    }


def test_a_change_names_the_archive_office_whose_fonds_changed(catalogue: Catalogue) -> None:
    (office,) = catalogue.archives
    less = office.model_copy(update={"keeps": office.keeps[1:]})
    record = changes(catalogue, catalogue.model_copy(update={"archives": (less,)}))
    assert record["archives"] == {"added": [], "changed": [office.body], "removed": []}
    assert changes(catalogue, catalogue)["matters"] == {"added": [], "changed": [], "removed": []}


def broken(folder: Path, text: str) -> tuple[str, ProblemCode, str, str]:
    """File, code, key of the first problem, and the line that it names."""
    copied = folder / "catalogue"
    shutil.copytree(DEFAULT_FOLDER, copied)
    (copied / "catalogue.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(CatalogueInvalid) as caught:
        load_catalogue(None, copied)
    first = caught.value.problems[0]
    return first.file, first.code, first.key, text.splitlines()[first.line - 1].strip()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("11310199MB2Y01016G", ProblemCode.DUPLICATE_CODE),  # stands above already
        ("12310199MB2Y04049F", ProblemCode.CONTRADICTION),  # the office itself
        ("11310199MB2Y020192", ProblemCode.WRONG_CREDIT_CODE),
    ],
)
def test_a_wrong_body_in_the_fonds_is_named(tmp_path: Path, body: str, code: ProblemCode) -> None:
    text = (DEFAULT_FOLDER / "catalogue.yaml").read_text(encoding="utf-8")
    kept = text.replace("11310199MB2Y020191", body)
    file, found, key, line = broken(tmp_path, kept)
    assert (file, found, key) == ("catalogue.yaml", code, "archives.0.keeps.1")
    assert line.startswith(f"- {body}")


def test_an_office_that_stands_twice_or_keeps_nobodys_archives_is_named(tmp_path: Path) -> None:
    text = (DEFAULT_FOLDER / "catalogue.yaml").read_text(encoding="utf-8")
    assert broken(tmp_path / "twice", text + AGAIN) == (
        "catalogue.yaml",
        ProblemCode.DUPLICATE_CODE,
        "archives.1.body",
        "- body: 12310199MB2Y04049F",
    )
    nobody = text[: text.index("    keeps:")] + "    keeps: []\n"
    assert broken(tmp_path / "nobody", nobody) == (
        "catalogue.yaml",
        ProblemCode.WRONG_VALUE,
        "archives.0.keeps",
        "keeps: []",
    )
