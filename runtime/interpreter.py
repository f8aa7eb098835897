"""How the interpreter is set for long work in several threads."""

import gc
import sys


def settle() -> None:
    """Short waits for the interpreter lock, and no full collections of what stays anyway.

    A request or an import passes several threads; by default each hand-over may
    wait 5 ms. A full collection walks every module and table description: 130 ms
    and more were seen, in which nothing else happens. Call it once the store is open.
    """
    sys.setswitchinterval(0.0005)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
