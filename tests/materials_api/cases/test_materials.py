"""Materials: registration, versions, reuse stopped, invalidation, erasure."""

import hashlib
from datetime import UTC, date, datetime, timedelta

import pytest

from kernel.errors import CodedError
from kernel.ids import IdKind, new_id
from kernel.principals import Channel
from ledger.errors import RecordErased
from materials_api.cases.requirements import note_met, ways_met
from materials_api.cases.tasks import TaskState, finish_task, list_tasks
from materials_api.catalogue.terms import PartyRole, Provenance
from materials_api.errors import (
    CertificationInvalid,
    DateImpossible,
    ErasureNotYours,
    FileOverTypeLimit,
    FilesInvalid,
    MaterialInUse,
    MaterialOfOtherDepartment,
    MaterialUnknown,
    PartiesInvalid,
    ProvenanceNotYours,
    RecordMismatch,
    RetentionRuns,
    SupersedesInvalid,
    TextInvalid,
    TypeNotOfRequirement,
    UnacceptableContent,
    UploadUnknown,
    UploadUsed,
)
from materials_api.materials.access import list_own, material_for, open_or_row
from materials_api.materials.checks import FileInput, RegisterMaterial
from materials_api.materials.control import resume_reuse, stop_reuse
from materials_api.materials.erasure import (
    ErasureState,
    continue_erasures,
    erasure_of,
    request_erasure,
)
from materials_api.materials.invalidation import InvalidReason, invalidate
from materials_api.materials.lifecycle import MaterialState
from materials_api.materials.registration import register_material
from materials_api.rules.rule_errors import UploadReasonNeeded, UploadReasonUnknown
from materials_api.tables import cases, material_files, materials, tasks, uploads
from parties import HolderRef
from storage.objects.registry import ref
from storage.tables import audit, objects


def test_what_is_registered_stands_in_its_record_alone(hall) -> None:
    case = hall.open_case()
    made = hall.register(
        case.case_id,
        hall.pdf("secret content"),
        name="C:\\扫描\\租赁合同.pdf",
        title="东风路101室租赁合同",
        requirement="lease_contract",
        parties=((hall.COMPANY, PartyRole.TENANT), (hall.LANDLORD, PartyRole.OWNER)),
        issued_at=date(2026, 1, 5),
        valid_until=date(2027, 1, 4),
    )
    facts = hall.material(made.material_id)
    assert facts.agrees
    assert facts.title == "东风路101室租赁合同"
    assert [file.name for file in facts.files] == ["租赁合同.pdf"]
    assert {share.role for share in facts.parties} == {PartyRole.TENANT, PartyRole.OWNER}
    assert facts.issued_at == datetime(2026, 1, 4, 16, tzinfo=UTC)
    assert facts.valid_until == datetime(2027, 1, 4, 16, tzinfo=UTC)
    assert facts.certified_by == "陈晓岚"
    assert facts.record.body["files"][0]["digests"]["sha256"] == facts.files[0].sha256.hex()
    row = hall.read(lambda tx: tx.one(uploads.select()))
    assert row["digests"] is None
    claimed = hall.read(lambda tx: tx.one(objects.select()))["claimed_by"]
    assert claimed == made.material_id
    ways = hall.read(lambda tx: ways_met(tx, case.case_id))
    assert [(way.requirement, way.route, way.item) for way in ways] == [
        ("lease_contract", "upload", made.material_id)
    ]
    actions = [row["action"] for row in hall.read(lambda tx: tx.all(audit.select()))]
    assert actions.count("material.register") == 1
    hall.room.database.forget_deleted()
    disk = hall.everything_on_disk()
    for personal in ("东风路101室", "租赁合同.pdf", "顾明远", hall.LANDLORD.code, "陈晓岚"):
        assert personal.encode() not in disk
    assert facts.files[0].sha256 not in disk


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"title": "  "}, TextInvalid),
        ({"title": "合同\u202etxt"}, TextInvalid),
        ({"title": "一" * 201}, TextInvalid),
        ({"type": "unheard_of"}, CodedError),
        ({"requirement": "unheard_of"}, CodedError),
        ({"requirement": "layout_plan"}, TypeNotOfRequirement),
        ({"issued_at": date(2026, 11, 25)}, DateImpossible),
        ({"issued_at": date(1899, 1, 1)}, DateImpossible),
        ({"issued_at": date(2026, 2, 2), "valid_until": date(2026, 2, 1)}, DateImpossible),
        ({"provenance": Provenance.AUTHORITY_ISSUED}, ProvenanceNotYours),
        ({"provenance": Provenance.BACK_SCAN, "certified_by": "某"}, CertificationInvalid),
        ({"certified_at": datetime(2026, 11, 25, tzinfo=UTC)}, CertificationInvalid),
        ({"supersedes": "mat_" + "0" * 26}, SupersedesInvalid),
        ({"data": b"plain text, no contract"}, UnacceptableContent),
        ({"reason": "because"}, UploadReasonUnknown),
    ],
)
def test_a_wrong_registration_stores_nothing(hall, fields, error) -> None:
    case = hall.open_case()
    with pytest.raises(error):
        hall.register(case.case_id, **fields)
    assert hall.read(lambda tx: tx.all(materials.select())) == []
    upload = hall.read(lambda tx: tx.one(uploads.select()))
    assert upload["used_at"] is None
    assert upload["digests"] is not None
    # Also while it waits, no row has what its content hashes to.
    content = b"".join(hall.room.objects.read(hall.read(lambda tx: ref(tx, upload["object_key"]))))
    assert hashlib.sha256(content).digest() not in hall.everything_on_disk()


def test_a_shared_party_twice_is_refused(hall) -> None:
    case = hall.open_case()
    twice = ((hall.LANDLORD, PartyRole.OWNER), (hall.LANDLORD, PartyRole.OWNER))
    with pytest.raises(PartiesInvalid):
        hall.register(case.case_id, parties=twice)


def test_an_applicant_states_no_more_than_a_copy_and_names_nobody_else(hall) -> None:
    shen = hall.applicant(hall.SHEN)
    case = hall.open_case(
        matter="elderly_allowance",
        applicant=hall.SHEN,
        person=None,
        principal=shen,
        channel=Channel.PC,
    )
    with pytest.raises(ProvenanceNotYours):
        hall.register(case.case_id, principal=shen, provenance=Provenance.CERTIFIED_COPY)
    # A wrong name for somebody else neither names that party nor tells it is wrong.
    stranger = HolderRef("111", hall.LANDLORD.code, "张冠李戴")
    made = hall.register(case.case_id, principal=shen, parties=((stranger, PartyRole.CO_OWNER),))
    share = hall.material(made.material_id).record.body["parties"][0]
    assert share["stated_name"] == "张冠李戴"
    landlord = hall.party(hall.LANDLORD)
    assert share["party"] == landlord
    described = hall.read(lambda tx: hall.room.parties.describe(tx, landlord))
    assert described.name == "顾明远"


def test_uploads_are_used_once_and_only_by_their_sender(hall) -> None:
    case = hall.open_case()
    upload = hall.upload(hall.pdf("a"))

    def register(*ids: str, by=hall.window):
        wanted = RegisterMaterial(
            type="other",
            title="其他",
            provenance=Provenance.UNCHECKED_COPY,
            files=tuple(FileInput(one, "a.pdf") for one in ids),
        )
        return hall.write(
            lambda tx: register_material(hall.room, tx, hall.now, by, case.case_id, wanted)
        )

    with pytest.raises(UploadUnknown):
        register(upload.upload_id, by=hall.other_clerk())
    with pytest.raises(UploadUnknown):
        register(new_id(IdKind.UPLOAD))
    with pytest.raises(UploadUnknown) as refused:
        register("upl_<script>")
    assert "script" not in str(refused.value)
    with pytest.raises(FilesInvalid):
        register(upload.upload_id, upload.upload_id)
    with pytest.raises(FilesInvalid):
        register()
    register(upload.upload_id)
    with pytest.raises(UploadUsed):
        register(upload.upload_id)


def test_a_material_has_several_files_in_order(hall) -> None:
    case = hall.open_case()
    ids = [hall.upload(hall.pdf(text)).upload_id for text in ("front", "back", "third")]
    wanted = RegisterMaterial(
        type="other",
        title="三页",
        provenance=Provenance.UNCHECKED_COPY,
        files=tuple(FileInput(one, f"{n}.pdf") for n, one in enumerate(ids, start=1)),
    )
    made = hall.write(
        lambda tx: register_material(hall.room, tx, hall.now, hall.window, case.case_id, wanted)
    )
    files = hall.material(made.material_id).files
    assert [(file.position, file.name) for file in files] == [
        (1, "1.pdf"),
        (2, "2.pdf"),
        (3, "3.pdf"),
    ]
    assert len({file.sha256 for file in files}) == 3


def test_a_file_over_the_limit_of_its_type_is_refused(hall) -> None:
    case = hall.open_case()
    limit = hall.room.catalogue.type("identity_proof").size_limit
    with pytest.raises(FileOverTypeLimit):
        hall.register(case.case_id, hall.pdf("x") + b"\n%" + b"x" * limit, type="identity_proof")


def test_asking_for_what_is_exempt_needs_a_reason(hall) -> None:
    case = hall.open_case()
    proof = {"type": "identity_proof", "requirement": "identity_proof"}
    with pytest.raises(UploadReasonNeeded):
        hall.register(case.case_id, **proof)
    made = hall.register(case.case_id, reason="holder_prefers_paper", **proof)
    way = hall.read(lambda tx: ways_met(tx, case.case_id))[0]
    assert (way.exemptible, way.reason) == (True, "holder_prefers_paper")
    assert hall.material(made.material_id).record.body["reason"] == "holder_prefers_paper"


def test_an_earlier_material_opens_its_route(hall) -> None:
    hall.approved_case()
    hall.advance(days=1)
    case = hall.open_case()
    with pytest.raises(UploadReasonNeeded):
        hall.register(case.case_id, requirement="lease_contract")


def test_a_new_version_replaces_the_old_once(hall) -> None:
    case = hall.open_case()
    old = hall.register(case.case_id)
    new = hall.register(case.case_id, supersedes=old.material_id)
    assert hall.material(old.material_id).state is MaterialState.SUPERSEDED
    assert hall.material(new.material_id).supersedes == old.material_id
    with pytest.raises(SupersedesInvalid):
        hall.register(case.case_id, supersedes=old.material_id)
    with pytest.raises(SupersedesInvalid):
        hall.register(case.case_id, type="layout_plan", supersedes=new.material_id)
    elsewhere = hall.open_case(matter="elderly_allowance", applicant=hall.ELDER, person=None)
    with pytest.raises(SupersedesInvalid):
        hall.register(elsewhere.case_id, supersedes=new.material_id)


def test_holders_see_their_own_and_nobody_elses(hall) -> None:
    _, lease = hall.approved_case()
    landlord, elder = hall.applicant(hall.LANDLORD), hall.applicant(hall.ELDER)
    company = hall.applicant(hall.COMPANY, hall.SHEN)
    for who in (landlord, company, hall.window, hall.department):
        row = hall.read(lambda tx, who=who: material_for(hall.room, tx, who, lease))
        assert row.material_id == lease
    with pytest.raises(MaterialUnknown):
        hall.read(lambda tx: material_for(hall.room, tx, elder, lease))
    own = hall.read(lambda tx: list_own(tx, landlord.holder, type_=None, cursor=None, limit=5))
    assert [row.material_id for row in own.items] == [lease]
    none = hall.read(lambda tx: list_own(tx, elder.holder, type_=None, cursor=None, limit=5))
    assert none.items == ()


def test_any_party_stops_reuse_and_allows_it_again(hall) -> None:
    case, lease = hall.approved_case()
    landlord = hall.applicant(hall.LANDLORD)

    def stop(tx):
        return stop_reuse(hall.room, tx, hall.now, landlord, lease)

    assert hall.write(stop) is MaterialState.STOPPED
    with pytest.raises(CodedError) as refused:
        hall.write(stop)
    assert refused.value.code == "material_transition_illegal"
    assert hall.write(lambda tx: resume_reuse(hall.room, tx, hall.now, landlord, lease)) == (
        MaterialState.REUSABLE
    )
    elder = hall.applicant(hall.ELDER)
    with pytest.raises(MaterialUnknown):
        hall.write(lambda tx: stop_reuse(hall.room, tx, hall.now, elder, lease))
    assert case.state == "approved"


def test_a_state_that_was_changed_by_hand_is_not_believed(hall) -> None:
    _, lease = hall.approved_case()
    landlord = hall.applicant(hall.LANDLORD)
    hall.write(
        lambda tx: tx.execute(
            materials.update().where(materials.c.material_id == lease).values(status="stopped")
        )
    )
    with pytest.raises(RecordMismatch):
        hall.write(lambda tx: resume_reuse(hall.room, tx, hall.now, landlord, lease))
    assert not hall.material(lease).agrees


def test_a_false_material_is_listed_where_it_was_used_and_each_use_is_a_task(hall) -> None:
    source, lease = hall.approved_case()
    hall.advance(days=1)
    user, denied, other = hall.open_case(), hall.open_case(), hall.open_case()
    hall.write(
        lambda tx: note_met(
            tx,
            hall.now,
            user.case_id,
            "lease_contract",
            "historic_material",
            item=lease,
            exemptible=True,
        )
    )
    stranger = hall.department.__class__("tok_y", hall.department.role, org=hall.HALL)
    with pytest.raises(MaterialOfOtherDepartment):
        hall.write(
            lambda tx: invalidate(hall.room, tx, hall.now, stranger, lease, InvalidReason.FORGED)
        )
    assert hall.material(lease).state is MaterialState.REUSABLE
    done = hall.write(
        lambda tx: invalidate(
            hall.room, tx, hall.now, hall.department, lease, InvalidReason.FORGED, "印章不符"
        )
    )
    assert [case.case_id for case in done.cases] == [source.case_id, user.case_id]
    assert {denied.case_id, other.case_id}.isdisjoint(case.case_id for case in done.cases)
    assert hall.material(lease).state is MaterialState.INVALIDATED
    page = hall.read(
        lambda tx: list_tasks(tx, hall.MARKET, state=TaskState.OPEN, cursor=None, limit=10)
    )
    assert {task.case_id for task in page.items} == {source.case_id, user.case_id}
    first = page.items[0].task_id
    with pytest.raises(CodedError) as refused:
        hall.write(lambda tx: finish_task(hall.room, tx, hall.now, stranger, first, "x"))
    assert refused.value.code == "task_unknown"
    closed = hall.write(
        lambda tx: finish_task(hall.room, tx, hall.now, hall.department, first, "不影响结果")
    )
    assert closed.state is TaskState.DONE
    with pytest.raises(CodedError) as refused:
        hall.write(lambda tx: finish_task(hall.room, tx, hall.now, hall.department, first, "x"))
    assert refused.value.code == "task_done"
    assert len(hall.read(lambda tx: tx.all(tasks.select()))) == 2


def _erase(hall, who, material_id: str):
    return hall.write(lambda tx: request_erasure(hall.room, tx, hall.now, who, material_id))


def test_erasure_waits_for_retention_and_for_cases_under_way(hall) -> None:
    owner = hall.applicant(hall.LANDLORD)
    case = hall.open_case()
    made = hall.register(case.case_id, parties=((hall.LANDLORD, PartyRole.OWNER),))
    hall.event(case.case_id, "submit")
    with pytest.raises(MaterialInUse):
        _erase(hall, owner, made.material_id)
    hall.event(case.case_id, "accept")
    with pytest.raises(RetentionRuns) as refused:
        _erase(hall, owner, made.material_id)
    assert refused.value.details["until"] == "2036-11-24"
    hall.event(case.case_id, "approve")
    hall.clock.set(hall.material(made.material_id).retain_until - timedelta(milliseconds=1))
    with pytest.raises(RetentionRuns):
        _erase(hall, owner, made.material_id)
    hall.advance(seconds=1)
    assert _erase(hall, owner, made.material_id).state is ErasureState.PENDING


def test_who_may_erase(hall) -> None:
    case = hall.open_case()
    made = hall.register(
        case.case_id,
        parties=((hall.LANDLORD, PartyRole.OWNER), (hall.CO_OWNER, PartyRole.CO_OWNER)),
    )
    with pytest.raises(MaterialUnknown):
        _erase(hall, hall.applicant(hall.ELDER), made.material_id)
    with pytest.raises(ErasureNotYours):
        _erase(hall, hall.applicant(hall.CO_OWNER), made.material_id)
    assert _erase(hall, hall.operator, made.material_id).state is ErasureState.PENDING


def test_what_was_erased_is_in_no_file_of_ours(hall, engine) -> None:
    secret = "绝密租赁合同标题"
    content = hall.pdf("needle in a haystack")
    case = hall.open_case()
    kept = hall.register(case.case_id)
    gone = hall.register(
        case.case_id,
        content,
        title=secret,
        name="绝密文件.pdf",
        parties=((hall.LANDLORD, PartyRole.OWNER),),
    )
    facts = hall.material(gone.material_id)
    landlord = hall.applicant(hall.LANDLORD)
    assert _erase(hall, landlord, gone.material_id).state is ErasureState.PENDING
    # Not sequenced yet: nothing is destroyed, and it says so.
    assert continue_erasures(hall.room, hall.now) == 1
    assert hall.material(gone.material_id).title == secret
    row = hall.read(lambda tx: material_for(hall.room, tx, landlord, gone.material_id))
    shown = hall.read(lambda tx: open_or_row(hall.room, tx, row))
    assert shown == row, "an erased material shows no title, even while it is pending"
    hall.sequence()
    objects_before = {path for path in (hall.path / "objects").rglob("*") if path.is_file()}
    assert continue_erasures(hall.room, hall.now) == 0
    # Rows and objects are gone from both engines; only one can say so of its files.
    told = ErasureState.DONE if engine.is_sqlite else ErasureState.PENDING
    assert hall.read(lambda tx: erasure_of(hall.room, tx, gone.material_id)).state is told
    with pytest.raises(RecordErased):
        hall.material(gone.material_id)
    objects_after = {path for path in (hall.path / "objects").rglob("*") if path.is_file()}
    assert len(objects_before - objects_after) == 1
    disk = hall.everything_on_disk()
    file = facts.files[0]
    for needle in (secret.encode(), "绝密文件".encode(), file.sha256, file.sm3, content[:64]):
        assert needle not in disk
    for text in (file.sha256.hex(), file.sm3.hex()):
        assert text.encode() not in disk
    # Others still open and prove, and so does the erasure itself.
    hall.sequence()
    record = hall.material(kept.material_id).record
    assert hall.room.ledger.records.prove(record).index == record.leaf_index
    assert _erase(hall, landlord, gone.material_id).state is told


def test_an_erased_key_is_gone_from_the_rows(hall) -> None:
    case = hall.open_case()
    made = hall.register(case.case_id, parties=((hall.LANDLORD, PartyRole.OWNER),))
    _erase(hall, hall.operator, made.material_id)
    hall.sequence()
    continue_erasures(hall.room, hall.now)
    row = hall.read(
        lambda tx: tx.one(
            objects.select().where(
                objects.c.object_key.in_(
                    material_files.select().with_only_columns(material_files.c.object_key)
                )
            )
        )
    )
    assert row["wrapped_key"] is None
    assert hall.read(lambda tx: tx.all(cases.select())) != []
