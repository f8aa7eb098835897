"""`mianjiao split-view`: checks the file with which a witness or a monitor accuses a log."""

from pathlib import Path

from ledger.policy import parse_policy
from ledger.splitview import parse_split_view
from runtime.errors import ConfigUnreadable


def check_split_view(proof: Path, policy: Path) -> int:
    """0: a log of the policy signed two trees, and both heads are printed.

    Otherwise the refusal says what does not hold (exit 1). Nothing but the two files is read.
    """
    keys = [log.key for log in parse_policy(_bytes(policy)).logs]
    shown = parse_split_view(_bytes(proof))
    shown.verify(keys)
    first, second = shown.first.checkpoint, shown.second.checkpoint
    print(f"{first.origin} 签署了两棵不同的树 / signed two trees that contradict each other")
    print(f"  {first.size}  {first.root.hex()}")
    print(f"  {second.size}  {second.root.hex()}")
    print(f"  {first.size}  {shown.prefix_root.hex()}  (在后者之中 / inside the latter)")
    return 0


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigUnreadable(path=str(path), reason=error.strerror) from None
