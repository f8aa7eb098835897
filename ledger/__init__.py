"""The tamper-evident log: Merkle core, checkpoints, journal, sequencer, receipts."""
