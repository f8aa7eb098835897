"""Which requests are refused while the log's queue is too deep or the disk is low.

Whatever adds to the store waits. Reading goes on, downloads too: their audit row is
small and must be durable before a byte leaves, so on a disk that is full to the last
byte they are refused by the database itself. What ends a permission is let through: whoever
takes an authorisation back must not wait for a disk.
"""

from collections.abc import Mapping
from typing import Any

from runtime.watch import Watch

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
# Routes that write, and are never refused here.
ALWAYS = frozenset(
    {
        "/v1/capacities/{capacity_id}/end",
        "/v1/grants/{grant_id}/decline",
        "/v1/grants/{grant_id}/revoke",
        "/v1/licenses/status",
        "/v1/materials/{material_id}/erase",
        "/v1/materials/{material_id}/invalidate",
        "/v1/materials/{material_id}/stop-reuse",
        "/v1/materials/{material_id}/tickets",
        "/v1/register-facts/{fact_id}/end",
        "/v1/verifications/{verification_id}/tickets",
    }
)


def admit(watch: Watch, scope: Mapping[str, Any]) -> None:
    """Raise `QueueTooDeep` or `DiskLow` for a request that would add to the store."""
    refusal = watch.refusal
    if refusal is None or scope["method"] in _READS:
        return
    if scope["route"].path not in ALWAYS:
        raise type(refusal)(**refusal.details)  # a fresh one: it will carry a traceback
