"""Anchoring: checkpoints sent to a chain, what came of it, and the evidence collected."""
