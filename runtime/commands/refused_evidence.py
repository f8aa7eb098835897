"""`mianjiao refused-evidence`: checks the file with which a monitor accuses a log."""

from pathlib import Path

from ledger.demands import parse_demands
from ledger.policy import parse_policy
from ledger.refused_evidence import parse_refused_evidence
from runtime.errors import ConfigUnreadable


def check_refused_evidence(proof: Path, policy: Path, demands: Path) -> int:
    """0: a log of the policy named evidence that fails under the demands, and it is told how.

    Otherwise the refusal says what does not hold (exit 1). Nothing but the three files is read.
    """
    trusted, pinned = parse_policy(_bytes(policy)), parse_demands(_bytes(demands))
    shown = parse_refused_evidence(_bytes(proof))
    named, outcome = shown.verify(trusted, pinned)
    origin = shown.proof.checkpoint.checkpoint.origin
    print(f"{origin} 载入了不成立的证据 / named evidence that does not hold")
    print(f"  {named}  ({named.origin})")
    if outcome.error is not None:
        print(f"  {outcome.error.message_zh()}")
        print(f"  {outcome.error.message_en()} [{outcome.error.code}]")
    return 0


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigUnreadable(path=str(path), reason=error.strerror) from None
