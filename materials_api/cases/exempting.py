"""Which requirements of an open case need not be brought (免交清单), for who handles it.

Only for an undecided case of the caller's own: nobody browses by citizen number.
"""

from datetime import datetime

from kernel.principals import Principal
from materials_api.cases.access import CaseView, case_for, rules_of
from materials_api.cases.candidates import ask_licenses, assess_case, kinds_asked
from materials_api.cases.requirements import still_open
from materials_api.record_checks import checked_state
from materials_api.room import MaterialsRoom
from materials_api.rules.exemption_facts import Assessment
from storage import audit
from storage.database import WriteTx


def exemptions_of(
    room: MaterialsRoom, at: datetime, principal: Principal, case_id: str
) -> tuple[CaseView, Assessment]:
    """Assess every requirement of the case; the licence source is asked as well.

    Counts and types only. Audited before it is answered. As `case_for`, or
    `CaseStateForbids` once the case is decided.
    """
    with room.database.read() as tx:
        case = still_open(case_for(tx, principal, case_id))
        checked_state(room, tx, case_id, case.state.value)
        _, matter = rules_of(room, tx, case)
    asked = ask_licenses(room, at, case, kinds_asked(matter, case.variant))
    with room.database.read() as tx:
        assessment = assess_case(room, tx, at, case, asked)

    def note(tx: WriteTx) -> None:
        audit.note(
            tx,
            at,
            principal,
            "exemptions.ask",
            entity=case_id,
            case_id=case_id,
            detail={"exemptible": assessment.exemptible, "required": assessment.required},
        )

    room.database.write(note)
    return case, assessment
