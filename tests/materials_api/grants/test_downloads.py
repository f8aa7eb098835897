"""Downloads: no byte without its audit row, and none after the right to it has ended."""

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from kernel.ids import IdKind, new_id
from kernel.principals import Principal, Role
from materials_api.errors import CaseOfOtherWindow, MaterialUnknown, RecordMismatch
from materials_api.grants.errors import (
    FileUnknown,
    NotAllowedToRelease,
    RangeUnsatisfiable,
    ReleaseStopped,
    TicketExpired,
    TicketUnknown,
    TicketUsed,
    VerificationUnknown,
)
from materials_api.grants.limits import GrantLimits
from materials_api.limits import Limits
from materials_api.materials.control import stop_reuse
from materials_api.materials.invalidation import InvalidReason, invalidate
from materials_api.releases.byte_ranges import RangeRequest
from materials_api.releases.downloads import begin_download, etag_of, note_stopped, stream
from materials_api.releases.tickets import secret_digest, ticket_for_own, ticket_for_verification
from materials_api.rules.reuse_facts import StatutoryDuty
from materials_api.tables import material_files, tickets, uses
from storage.tables import audit

WHOLE = RangeRequest()


class Setting:
    """A verified lease and the ways to its bytes."""

    def __init__(self, desk, data: bytes | None = None) -> None:
        self.desk = desk
        self.data = data or desk.hall.pdf("the lease")
        self.lease = desk.lease(data=self.data)
        self.case = desk.case()
        self.grant = desk.granted(self.case.case_id, self.lease)
        answer = desk.verify(self.case.case_id, self.lease)
        self.verification = answer["items"][0]["verification"]

    def ticket(self, by: Principal | None = None, position: int = 1) -> str:
        desk = self.desk
        who = by or desk.hall.window
        return desk.hall.write(
            lambda tx: ticket_for_verification(
                desk.room, tx, desk.now, who, self.verification, position
            )
        ).ticket

    def begin(self, ticket: str, wanted: RangeRequest = WHOLE, by: Principal | None = None):
        desk = self.desk
        return begin_download(desk.room, desk.now, by or desk.hall.window, ticket, wanted)

    def get(self, ticket: str, wanted: RangeRequest = WHOLE, by: Principal | None = None) -> bytes:
        release = self.begin(ticket, wanted, by)
        return b"".join(stream(self.desk.room, by or self.desk.hall.window, release))

    def audits(self, action: str) -> list:
        with self.desk.room.database.read() as tx:
            return list(tx.all(select(audit).where(audit.c.action == action)))


@pytest.fixture
def setting(desk) -> Setting:
    return Setting(desk)


def test_a_ticket_gives_the_bytes_once_with_audit_record_and_use(setting) -> None:
    ticket = setting.ticket()
    release = setting.begin(ticket)
    (noted,) = setting.audits("download")  # durable before the first byte
    assert noted["case_id"] == setting.case.case_id
    assert b"".join(stream(setting.desk.room, setting.desk.hall.window, release)) == setting.data
    with pytest.raises(TicketUsed):
        setting.begin(ticket)
    with setting.desk.room.database.read() as tx:
        used = tx.all(select(uses).where(uses.c.action == "downloaded"))
    assert {row["holder"] for row in used} == {
        setting.desk.hall.party(setting.desk.hall.COMPANY),
        setting.desk.hall.party(setting.desk.hall.LANDLORD),
    }
    record = setting.desk.hall.read(
        lambda tx: setting.desk.room.ledger.records.open(tx, used[0]["entry_id"])
    )
    assert record.kind == "download.released"
    assert record.body["verification"] == setting.verification


def test_a_ticket_is_kept_as_a_digest_only(setting) -> None:
    ticket = setting.ticket()
    setting.desk.room.database.close()
    assert ticket.encode() not in setting.desk.hall.everything_on_disk()


def test_a_ticket_is_nobody_elses(setting) -> None:
    ticket = setting.ticket()
    clerk = setting.desk.hall.other_clerk()
    for who in (clerk, setting.desk.hall.department, setting.desk.company()):
        with pytest.raises(TicketUnknown):
            setting.begin(ticket, by=who)
    with pytest.raises(TicketUnknown):
        setting.begin("mjt_" + "A" * 43)
    assert setting.get(ticket) == setting.data


def test_an_edited_ticket_gives_no_other_bytes(setting) -> None:
    """Another material of the same window's cases, with or without the verification."""
    other = setting.desk.lease(data=setting.desk.hall.pdf("another lease"))
    for edit, refusal in (
        ({"material_id": other}, RecordMismatch),
        ({"material_id": other, "verification_id": None}, MaterialUnknown),
        ({"verification_id": None}, MaterialUnknown),
    ):
        ticket = setting.ticket()
        setting.desk.hall.write(
            lambda tx, ticket=ticket, edit=edit: tx.execute(
                update(tickets)
                .where(tickets.c.secret_sha256 == secret_digest(ticket))
                .values(**edit)
            )
        )
        with pytest.raises(refusal):
            setting.begin(ticket)


def test_a_ticket_expires_on_the_instant(setting) -> None:
    life = timedelta(seconds=setting.desk.room.limits.grants.ticket_life)
    ticket, at = setting.ticket(), setting.desk.now
    setting.desk.hall.clock.set(at + life)
    with pytest.raises(TicketExpired):
        setting.begin(ticket)
    setting.desk.hall.clock.set(at + life - timedelta(milliseconds=1))
    assert setting.get(ticket) == setting.data


def test_the_department_of_the_case_downloads_with_a_ticket_of_its_own(setting) -> None:
    department = setting.desk.hall.department
    assert setting.get(setting.ticket(department), by=department) == setting.data


def test_no_ticket_for_another_case_a_denial_or_a_missing_file(setting) -> None:
    desk = setting.desk
    with pytest.raises(FileUnknown):
        setting.ticket(position=2)
    other = Principal(new_id(IdKind.CREDENTIAL), Role.WINDOW, org="12310199MB2Y04049F")
    with pytest.raises(CaseOfOtherWindow):
        setting.ticket(other)
    denied = desk.verify(desk.case().case_id, setting.lease)["items"][0]["verification"]
    for verification, error in ((denied, NotAllowedToRelease),
                                ("vrf_" + "0" * 26, VerificationUnknown)):  # fmt: skip
        setting.verification = verification
        with pytest.raises(error):
            setting.ticket()


def test_a_revoked_grant_gives_no_ticket_and_no_bytes(setting) -> None:
    ticket = setting.ticket()
    setting.desk.revoke(setting.grant, setting.desk.company())
    with pytest.raises(NotAllowedToRelease) as refused:
        setting.begin(ticket)
    assert refused.value.details["reason"] == "grant_revoked"
    with pytest.raises(NotAllowedToRelease):
        setting.ticket()
    assert setting.audits("download") == []


def test_a_stopped_or_invalidated_material_gives_no_bytes(setting) -> None:
    desk = setting.desk
    ticket = setting.ticket()
    company = desk.company()
    desk.hall.write(lambda tx: stop_reuse(desk.room, tx, desk.now, company, setting.lease))
    with pytest.raises(NotAllowedToRelease) as refused:
        setting.begin(ticket)
    assert refused.value.details["reason"] == "material_stopped"
    desk.hall.write(
        lambda tx: invalidate(
            desk.room, tx, desk.now, desk.hall.department, setting.lease, InvalidReason.FORGED
        )
    )
    with pytest.raises(NotAllowedToRelease) as refused:
        setting.begin(ticket)
    assert refused.value.details["reason"] == "material_invalidated"


def test_a_statutory_duty_downloads_without_a_grant(desk) -> None:
    setting = Setting(desk)
    duty = StatutoryDuty("林知远", "0107", "审查")
    case = desk.case()
    answer = desk.verify(case.case_id, setting.lease, basis=duty, by=desk.hall.department)
    setting.verification = answer["items"][0]["verification"]
    desk.revoke(setting.grant, desk.company())
    department = desk.hall.department
    assert setting.get(setting.ticket(department), by=department) == setting.data


def test_a_revocation_in_the_middle_cuts_the_download(make_desk) -> None:
    desk = make_desk(limits=Limits(grants=GrantLimits(recheck_bytes=1 << 20)))
    setting = Setting(desk, desk.hall.pdf("x") + bytes(6 << 20))
    release = setting.begin(setting.ticket())
    blocks = stream(desk.room, desk.hall.window, release)
    got = [next(blocks)]
    desk.revoke(setting.grant, desk.company())
    with pytest.raises(ReleaseStopped) as stopped:
        got.extend(blocks)
    assert stopped.value.details["reason"] == "grant_revoked"
    assert len(b"".join(got)) <= 3 << 20
    note_stopped(desk.room, desk.now, desk.hall.window, release, stopped.value)
    (noted,) = setting.audits("download.stop")
    assert "grant_revoked" in noted["detail"]


def test_a_range_resumes_the_same_download_until_it_expires(setting) -> None:
    ticket = setting.ticket()
    data = setting.data
    etag = setting.begin(ticket).etag
    first = setting.get(ticket, RangeRequest("bytes=0-99", etag))
    rest = setting.get(ticket, RangeRequest("bytes=100-", etag))
    assert first + rest == data
    with pytest.raises(TicketUsed):
        setting.get(ticket, RangeRequest("bytes=100-", None))
    with pytest.raises(TicketUsed):
        setting.get(ticket, RangeRequest("bytes=100-", '"other"'))
    with pytest.raises(TicketUnknown):
        setting.get(ticket, RangeRequest("bytes=100-", etag), by=setting.desk.hall.other_clerk())
    assert len(setting.audits("download")) == 1
    assert len(setting.audits("download.resume")) == 2
    setting.desk.revoke(setting.grant, setting.desk.company())
    with pytest.raises(NotAllowedToRelease):
        setting.get(ticket, RangeRequest("bytes=100-", etag))


def test_a_range_outside_the_content_uses_nothing_up(setting) -> None:
    ticket = setting.ticket()
    with pytest.raises(RangeUnsatisfiable):
        setting.begin(ticket, RangeRequest(f"bytes={len(setting.data)}-"))
    assert setting.audits("download") == []
    assert setting.get(ticket, RangeRequest("bytes=-10")) == setting.data[-10:]


def flip(setting: Setting, offset: int) -> None:
    key = setting.desk.hall.material(setting.lease).files[0].object_key
    path = next(setting.desk.hall.path.rglob(key))
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(bytes(data))


def test_a_small_damaged_object_is_refused_and_the_ticket_stays_good(setting) -> None:
    ticket = setting.ticket()
    flip(setting, -20)
    for wanted in (WHOLE, RangeRequest("bytes=0-9")):
        with pytest.raises(NotAllowedToRelease) as refused:
            setting.begin(ticket, wanted)
        assert refused.value.details["reason"] == "content_mismatch"
    flip(setting, -20)
    assert setting.get(ticket) == setting.data


def test_a_large_damaged_object_is_never_complete(desk) -> None:
    setting = Setting(desk, desk.hall.pdf("x") + bytes(3 << 20))
    flip(setting, -20)
    release = setting.begin(setting.ticket())
    sent: list[bytes] = []
    with pytest.raises(ReleaseStopped) as stopped:
        sent.extend(stream(desk.room, desk.hall.window, release))
    assert stopped.value.details["reason"] == "content_mismatch"
    assert len(b"".join(sent)) < len(setting.data)


def test_other_bytes_of_the_same_size_under_the_row_are_not_released(desk) -> None:
    filler = bytes(3 << 20)
    setting = Setting(desk, desk.hall.pdf("aaaa") + filler)
    other = desk.lease(data=desk.hall.pdf("bbbb") + filler)
    wrong = desk.hall.material(other).files[0]
    assert wrong.size == len(setting.data)
    with desk.room.database.writer_engine.begin() as connection:
        connection.execute(
            update(material_files)
            .where(material_files.c.material_id == setting.lease)
            .values(object_key=wrong.object_key)
        )
    release = setting.begin(setting.ticket())
    sent: list[bytes] = []
    with pytest.raises(ReleaseStopped):
        sent.extend(stream(desk.room, desk.hall.window, release))
    assert len(b"".join(sent)) < len(setting.data)
    with pytest.raises(NotAllowedToRelease):
        setting.begin(setting.ticket(), RangeRequest("bytes=0-9"))


def test_a_holder_downloads_their_own_and_the_co_party_sees_it(setting) -> None:
    desk = setting.desk
    company, landlord = desk.company(), desk.hall.applicant(desk.hall.LANDLORD)

    def own(who: Principal, material_id: str = setting.lease) -> str:
        return desk.hall.write(
            lambda tx: ticket_for_own(desk.room, tx, desk.now, who, material_id, 1)
        ).ticket

    for who in (company, landlord):
        ticket = own(who)
        with pytest.raises(TicketUnknown):
            setting.get(ticket, by=replace(who, subject=new_id(IdKind.CREDENTIAL)))
        assert setting.get(ticket, by=who) == setting.data
    elder = desk.hall.applicant(desk.hall.ELDER)
    unknown = "mat_" + "0" * 26
    for who, material_id in (
        (elder, setting.lease),
        (company, unknown),
        (desk.hall.window, setting.lease),
    ):
        with pytest.raises(MaterialUnknown):
            own(who, material_id)
    with desk.room.database.read() as tx:
        rows = tx.all(select(uses).where(uses.c.basis == "own"))
        assert len(tx.all(select(tickets).where(tickets.c.used_at.is_not(None)))) == 2
    assert len(rows) == 4


def test_a_stopped_material_is_still_its_holders(setting) -> None:
    desk = setting.desk
    company = desk.company()
    desk.hall.write(lambda tx: stop_reuse(desk.room, tx, desk.now, company, setting.lease))
    ticket = desk.hall.write(
        lambda tx: ticket_for_own(desk.room, tx, desk.now, company, setting.lease, 1)
    ).ticket
    assert setting.get(ticket, by=company) == setting.data


def test_the_etag_is_the_contents_digest(setting) -> None:
    file = setting.desk.hall.material(setting.lease).files[0]
    assert etag_of(file) == f'"{hashlib.sha256(setting.data).hexdigest()}"'
