"""Routes of what a case leaves behind: documents, commitments, assistance."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response

from kernel.principals import Principal, Role
from materials_api.cases.access import case_for
from materials_api.cases.assistance import AssistanceOutcome, answer_assistance, ask_assistance
from materials_api.cases.commitments import MadeDocument, commit
from materials_api.documents.kinds import NAMES
from materials_api.documents.renderer import render_document
from materials_api.documents.stored import DocumentRow, document_for, documents_of
from materials_api.http.case_models import Note, RequirementKey
from materials_api.http.common import CaseId, DocumentId, ReceiptOut, TextOut, receipt_link
from materials_api.room import MaterialsRoom
from parties.http.access import Access
from parties.http.replies import write_once
from parties.http.wire import IdempotencyKey, UtcTime, Wire
from storage import audit
from storage.database import WriteTx

KindWord = Literal[
    "verification_slip",
    "commitment",
    "assistance_letter",
    "correction_notice",
    "acceptance_notice",
    "decision_notice",
]


class DocumentOut(Wire):
    """A document of a case; the PDF is at `href`."""

    document_id: str
    kind: KindWord
    name: TextOut
    requirement: str | None
    verification: str | None
    at: UtcTime
    href: str
    receipt: str


class DocumentPage(Wire):
    items: list[DocumentOut]
    next: str | None


class MadeOut(Wire):
    """A document that was just made."""

    document_id: str
    kind: KindWord
    requirement: str
    href: str
    receipt: ReceiptOut


class CommitmentIn(Wire):
    requirement: RequirementKey


class AssistanceIn(Wire):
    requirement: RequirementKey
    question: Note


class AnswerIn(Wire):
    outcome: Literal["confirmed", "not_confirmed", "no_record"]
    note: Note | None = None


def routes(room: MaterialsRoom, access: Access) -> APIRouter:
    """`/v1/cases/{case_id}/documents`, `/commitments` and `/assistance`."""
    router = APIRouter(prefix="/v1/cases/{case_id}", tags=["documents"])
    reader = access.require(Role.APPLICANT, Role.WINDOW, Role.DEPARTMENT, Role.ARCHIVIST)
    committer = access.require(Role.APPLICANT, Role.WINDOW)
    officer = access.require(Role.WINDOW, Role.DEPARTMENT)

    @router.get("/documents", response_model=DocumentPage, summary="办件文书")
    def list_(case_id: CaseId, principal: Annotated[Principal, Depends(reader)]) -> DocumentPage:
        """The documents of a case in the order in which they were made; never paged."""
        with room.database.read() as tx:
            case_for(tx, principal, case_id)
            found = documents_of(tx, case_id)
        return DocumentPage(items=[_out(document) for document in found], next=None)

    @router.get(
        "/documents/{document_id}",
        response_class=Response,
        responses={200: {"content": {"application/pdf": {}}}},
        summary="文书 PDF",
    )
    def pdf(
        case_id: CaseId, document_id: DocumentId, principal: Annotated[Principal, Depends(reader)]
    ) -> Response:
        """One document as PDF. The same document always has the same bytes."""
        at = room.clock.now()
        with room.database.read() as tx:
            document = document_for(tx, principal, case_id, document_id)
            content = render_document(room, tx, document)
        # Names stand on it: no bytes leave without their audit row.
        room.database.write(
            lambda tx: audit.note(
                tx, at, principal, "document.read", entity=document_id, case_id=case_id
            )
        )
        return Response(
            content,
            media_type="application/pdf",
            headers={
                "Content-Disposition": f'attachment; filename="{document_id}.pdf"',
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "private, no-store",
            },
        )

    @router.post("/commitments", status_code=201, response_model=MadeOut, summary="告知承诺")
    def commitment(
        case_id: CaseId,
        body: CommitmentIn,
        principal: Annotated[Principal, Depends(committer)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Record the applicant's commitment in place of a requirement that allows it."""
        at = room.clock.now()

        def work(tx: WriteTx) -> tuple[int, MadeOut]:
            return 201, _made(case_id, commit(room, tx, at, principal, case_id, body.requirement))

        route = f"POST /v1/cases/{case_id}/commitments"
        return write_once(room.database, room.vault, at, principal, route, key, body, work)

    @router.post("/assistance", status_code=201, response_model=MadeOut, summary="行政协助")
    def assistance(
        case_id: CaseId,
        body: AssistanceIn,
        principal: Annotated[Principal, Depends(officer)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Ask the body that the catalogue names, with its time limit (协查函)."""
        at = room.clock.now()

        def work(tx: WriteTx) -> tuple[int, MadeOut]:
            made = ask_assistance(room, tx, at, principal, case_id, body.requirement, body.question)
            return 201, _made(case_id, made)

        route = f"POST /v1/cases/{case_id}/assistance"
        return write_once(room.database, room.vault, at, principal, route, key, body, work)

    @router.post(
        "/assistance/{document_id}/answer",
        status_code=201,
        response_model=MadeOut,
        summary="登记协查答复",
    )
    def answer(
        case_id: CaseId,
        document_id: DocumentId,
        body: AnswerIn,
        principal: Annotated[Principal, Depends(officer)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Record what the other body answered; `confirmed` meets the requirement."""
        at = room.clock.now()
        outcome = AssistanceOutcome(body.outcome)

        def work(tx: WriteTx) -> tuple[int, MadeOut]:
            made = answer_assistance(
                room, tx, at, principal, case_id, document_id, outcome, body.note
            )
            return 201, _made(case_id, made)

        route = f"POST /v1/cases/{case_id}/assistance/{document_id}/answer"
        return write_once(room.database, room.vault, at, principal, route, key, body, work)

    return router


def _out(document: DocumentRow) -> DocumentOut:
    zh, en = NAMES[document.kind]
    return DocumentOut(
        document_id=document.document_id,
        kind=document.kind.value,
        name=TextOut(zh=zh, en=en),
        requirement=document.requirement,
        verification=document.verification_id,
        at=document.at,
        href=f"/v1/cases/{document.case_id}/documents/{document.document_id}",
        receipt=f"/v1/receipts/{document.entry_id}",
    )


def _made(case_id: str, made: MadeDocument) -> MadeOut:
    return MadeOut(
        document_id=made.document_id,
        kind=made.kind.value,
        requirement=made.requirement,
        href=f"/v1/cases/{case_id}/documents/{made.document_id}",
        receipt=receipt_link(made.entry_id),
    )
