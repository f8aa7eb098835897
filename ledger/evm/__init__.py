"""Checkpoints in a contract of an EVM chain: the contract, and evidence that verifies offline."""
