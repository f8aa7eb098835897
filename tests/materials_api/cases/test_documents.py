"""Documents: the same bytes for the same records, names as they were, all kinds."""

import io
from datetime import UTC, datetime

import pypdf
import pytest

from kernel.ids import IdKind, new_id
from materials_api.documents.kinds import NAMES, DocumentKind
from materials_api.documents.layout import Field, Grid, Sheet, render
from materials_api.documents.renderer import render_document
from materials_api.documents.stored import add_document, document_for, documents_of
from materials_api.errors import CaseUnknown, DocumentUnknown, RecordMismatch

CHECKS = [
    {"check": "holder", "result": "passed"},
    {"check": "grant", "result": "not_applicable"},
    {"check": "freshness", "result": "failed", "reasons": ["address_changed_since"]},
]


def text_of(pdf: bytes) -> str:
    return "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages)


def leave_slip(hall, case, **changes: object) -> str:
    """A verification's record and its slip, as the verification writes them."""
    body = {
        "requirement": "lease_contract",
        "item": "mat_" + "0" * 26,
        "item_kind": "material",
        "item_type": "lease_contract",
        "route": "historic_material",
        "outcome": "denied",
        "checks": CHECKS,
        "basis": {"kind": "consent"},
        "grants": ["grt_" + "0" * 26],
        "org": hall.HALL,
        "unit": "综窗3号",
        "by_officer": "陈晓岚",
        "status": "denied",
    } | changes

    def work(tx):
        entry = hall.room.ledger.journal.record(
            tx, hall.now, "verification.denied", new_id(IdKind.VERIFICATION), body
        )
        return add_document(
            tx,
            hall.now,
            case.case_id,
            DocumentKind.VERIFICATION_SLIP,
            entry.entry_id,
            requirement="lease_contract",
        )

    return hall.write(work)


def rendered(hall, case, document_id: str) -> bytes:
    return hall.read(
        lambda tx: render_document(
            hall.room, tx, document_for(tx, hall.window, case.case_id, document_id)
        )
    )


def test_a_slip_shows_every_check_with_reason_and_remedy(hall) -> None:
    case = hall.open_case()
    slip = leave_slip(hall, case)
    text = text_of(rendered(hall, case, slip))
    for expected in (
        "核验结果单",
        case.number,
        "食品经营许可",
        hall.COMPANY.name,
        "周文博",
        "租赁合同",
        "与现登记住所不一致",
        "不适用",
        "陈晓岚",
        "2026-11-24 12:00:00",
        "不予复用",
    ):
        assert expected in text, expected


def test_a_statutory_check_names_its_officer(hall) -> None:
    case = hall.open_case()
    duty = {"kind": "statutory_duty", "officer": "林知远", "number": "X-17", "role": "审查员"}
    text = text_of(rendered(hall, case, leave_slip(hall, case, basis=duty, outcome="allowed")))
    assert "依职能查验 林知远，X-17，审查员" in text
    assert "准许复用" in text


def test_a_data_check_names_its_register(hall) -> None:
    case = hall.open_case()
    slip = leave_slip(
        hall, case, register="real_estate", fields=["owners", "location"], route="data_check"
    )
    text = text_of(rendered(hall, case, slip))
    assert hall.room.catalogue.register_of("real_estate").name.zh in text
    assert "owners, location" in text


def test_the_same_document_has_the_same_bytes_whenever_it_is_asked_for(hall) -> None:
    case = hall.open_case()
    slip = leave_slip(hall, case)
    first = rendered(hall, case, slip)
    hall.advance(days=400)
    # A later change of name changes no document of before.
    hall.write(
        lambda tx: hall.room.parties.rename(
            tx, hall.now, case.applicant, "上海云间新味餐饮管理有限公司", "registration"
        )
    )
    assert rendered(hall, case, slip) == first
    later = leave_slip(hall, case)
    assert "新味" in text_of(rendered(hall, case, later))


def test_a_record_of_another_kind_makes_no_document(hall) -> None:
    case = hall.open_case()
    wrong = hall.write(
        lambda tx: add_document(tx, hall.now, case.case_id, DocumentKind.COMMITMENT, case.entry_id)
    )
    with pytest.raises(RecordMismatch):
        rendered(hall, case, wrong)


def test_documents_belong_to_their_case(hall) -> None:
    case, other = hall.open_case(), hall.open_case()
    slip = leave_slip(hall, case)
    with pytest.raises(DocumentUnknown):
        rendered(hall, other, slip)
    elder = hall.applicant(hall.ELDER)
    with pytest.raises(CaseUnknown):
        hall.read(lambda tx: document_for(tx, elder, case.case_id, slip))
    assert [row.document_id for row in hall.read(lambda tx: documents_of(tx, case.case_id))] == [
        slip
    ]


def test_markup_in_text_is_text_and_rare_characters_are_spelt(hall) -> None:
    sheet = Sheet(
        "标题",
        "Title",
        "no-1",
        (Field("名称", "Name", "<b>王</b> & 𠮷"),),
        ("一" * 3_000,),
        Grid(("a", "b"), tuple((str(n), "x" * 200) for n in range(120)), (1, 4)),
        (f"{datetime(2026, 1, 1, tzinfo=UTC):%Y}",),
    )
    pdf = render(sheet)
    assert render(sheet) == pdf
    text = text_of(pdf)
    assert "<b>王</b> & [U+20BB7]" in text
    assert len(pypdf.PdfReader(io.BytesIO(pdf)).pages) > 3


def test_every_kind_has_a_name() -> None:
    assert set(NAMES) == set(DocumentKind)
