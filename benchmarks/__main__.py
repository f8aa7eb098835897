"""`make bench`: every figure in one run, as a table and as JSON.

`python -m benchmarks NAME …` runs some of them: ledger, upload, verification,
bulk, receipt, cosigning, evidence (wants `make servers`), servers (wants what `make up` wants).
"""

import sys
import tempfile
from pathlib import Path

from benchmarks import (
    bulk,
    cosigning,
    evidence,
    ledger_core,
    receipt,
    servers,
    upload,
    verification,
)
from benchmarks.figures import Figure, keep, show
from benchmarks.stores import served

NAMES = ("ledger", "upload", "verification", "bulk", "receipt", "cosigning", "evidence", "servers")
RESULTS = Path("benchmarks/results/latest.json")


def main() -> int:
    """0 when every target was met, 1 otherwise: the table says which were not."""
    wanted = sys.argv[1:] or list(NAMES)
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        print(f"no benchmark {unknown[0]}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    for name in wanted:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="mianjiao-bench-") as folder:
            figures += _measure(name, Path(folder))
    show(figures)
    keep(figures, RESULTS)
    print(f"kept in {RESULTS}", file=sys.stderr)
    return 0 if all(figure.met is not False for figure in figures) else 1


def _measure(name: str, scratch: Path) -> list[Figure]:
    if name == "ledger":
        return ledger_core.measure(scratch)
    if name == "bulk":
        return bulk.measure(scratch)
    if name == "servers":
        return servers.measure(scratch)
    if name == "cosigning":
        return cosigning.measure(scratch)
    if name == "evidence":
        return evidence.measure(scratch)
    with served(scratch / "data") as running:
        if name == "upload":
            return upload.measure(running, scratch)
        if name == "verification":
            return verification.measure(running, scratch)
        return receipt.measure(*receipt.one(running, scratch))


if __name__ == "__main__":
    sys.exit(main())
