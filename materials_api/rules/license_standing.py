"""From the licence room's status to what a reuse decision needs to know of it."""

from collections.abc import Mapping
from types import MappingProxyType

from license_service.lifecycle import Status
from materials_api.rules.reuse_facts import LicenseStanding

STANDINGS: Mapping[Status, LicenseStanding] = MappingProxyType(
    {
        Status.DRAFTED: LicenseStanding.NOT_ISSUED,
        Status.VALID: LicenseStanding.IN_FORCE,
        Status.SUPERSEDED: LicenseStanding.SUPERSEDED,
        Status.SUSPENDED: LicenseStanding.SUSPENDED,
        Status.WITHDRAWN: LicenseStanding.ENDED,
        Status.REVOKED: LicenseStanding.ENDED,
        Status.DEREGISTERED: LicenseStanding.ENDED,
        Status.RESCINDED: LicenseStanding.TAINTED,
        Status.ANNULLED: LicenseStanding.TAINTED,
    }
)


def license_standing(status: Status | None, *, tainted: bool = False) -> LicenseStanding:
    """`status` None: the source did not answer. `tainted`: a rescission or annulment
    stands anywhere in the history, whatever the status of the moment asked for."""
    if status is None:
        return LicenseStanding.UNKNOWN
    return LicenseStanding.TAINTED if tainted else STANDINGS[status]
