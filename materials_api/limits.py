"""Every bound of this room in one place, and the few settings of case handling.

`runtime` may build another `Limits` from its settings; nothing here is read
from the environment.
"""

from dataclasses import dataclass, field
from datetime import date

from materials_api.grants.limits import GrantLimits

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much of a ZIP container is looked at before it is refused as hostile."""

    members: int = 20_000
    directory_bytes: int = 8 * MIB
    name_bytes: int = 1_024
    total_bytes: int = 8 * GIB  # declared, uncompressed
    ratio: int = 1_000  # declared uncompressed to compressed, over the whole container


@dataclass(frozen=True, slots=True)
class ManifestLimits:
    """Bounds of a `mianjiao import` manifest."""

    bytes: int = 512 * MIB
    rows: int = 5_000_000
    cell_chars: int = 4_096
    files_per_row: int = 64
    path_chars: int = 1_024


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds, counts of things."""

    upload_bytes: int = 4 * GIB
    block_bytes: int = MIB  # handed to the writer at once

    # Bytes that a principal may leave unregistered.
    pending_uploads: int = 20_000
    pending_upload_bytes: int = 64 * GIB

    form_field_bytes: int = 16 * KIB
    form_fields: int = 64
    form_header_bytes: int = 8 * KIB

    files_per_material: int = 64
    parties_per_material: int = 16
    title_chars: int = 200
    name_chars: int = 200  # of a file, as the sender calls it
    note_chars: int = 2_000
    correction_items: int = 64

    wait_seconds: float = 30.0  # the longest `Prefer: wait`
    waiting_requests: int = 256  # at once; more are answered without waiting

    # 办件编码: `{date}`, `{matter}`, `{department}` and `{serial}` are filled in.
    case_number_pattern: str = "{department}-{date}-{serial:06d}"

    # 补正: one complete notice within five working days. Weekends are free days;
    # what the State Council announces per year is given here.
    correction_working_days: int = 5
    holidays: frozenset[date] = field(default_factory=frozenset)
    extra_working_days: frozenset[date] = field(default_factory=frozenset)

    grants: GrantLimits = field(default_factory=GrantLimits)
    archive: ArchiveLimits = field(default_factory=ArchiveLimits)
    manifest: ManifestLimits = field(default_factory=ManifestLimits)

    import_batch: int = 1000  # rows in one commit
