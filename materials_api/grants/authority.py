"""Who may decide about a holder's authorisations (授权): one table, checked live.

A credential says in which capacity a person acts; whether they still do is asked
of the register each time, because authority ends with death, dissolution or a
change of representative.
"""

from dataclasses import dataclass
from datetime import datetime

from kernel.principals import Capacity, Principal
from materials_api.catalogue.terms import ENDING_EVENTS, Sensitivity
from materials_api.grants.errors import HolderEnded, MayNotDecide, SensitiveItem
from materials_api.registers.party_events import events_of_party
from materials_api.room import MaterialsRoom
from materials_api.rules.reuse_grants import MAY_GRANT
from parties.capacity import MayAct
from parties.errors import NotActingForHolder
from storage.database import ReadTx

# 办事人 and 代理人 carry papers; they do not dispose of the holder's data. What a
# decider may grant is narrowed further by the item's sensitivity: `MAY_GRANT`.
DECIDES: frozenset[Capacity] = frozenset(
    {
        Capacity.SELF,
        Capacity.LEGAL_REPRESENTATIVE,
        Capacity.LICENSE_MANAGER,
        Capacity.GUARDIAN,
    }
)


@dataclass(frozen=True, slots=True)
class Decider:
    """A natural person who may decide for `holder`, now. `capacity_id` None: in person."""

    holder: str
    person: str
    capacity: Capacity
    capacity_id: str | None

    def may_grant(self, sensitivity: Sensitivity | None) -> None:
        """`SensitiveItem` unless the capacity suffices for an item of this sensitivity."""
        if sensitivity is not None and self.capacity not in MAY_GRANT[sensitivity]:
            raise SensitiveItem(capacity=self.capacity.value)


def decider(room: MaterialsRoom, tx: ReadTx, at: datetime, principal: Principal) -> Decider:
    """The caller as somebody who may decide, or `MayNotDecide`, `NotActingForHolder`,
    `HolderEnded`."""
    holder, person, capacity = principal.holder, principal.person, principal.capacity
    if holder is None or person is None or capacity is None:
        raise NotActingForHolder()
    if capacity not in DECIDES:
        raise MayNotDecide(capacity=capacity.value)
    acting = room.parties.may_act(tx, at, person, holder, capacity)
    if not isinstance(acting, MayAct):
        raise NotActingForHolder()
    happened = events_of_party(room, tx, holder)
    if any(event.event in ENDING_EVENTS and event.at <= at for event in happened):
        raise HolderEnded()
    return Decider(holder, person, capacity, acting.capacity_id)
