"""Verification (核验) at the window: facts gathered, decided, recorded, read again."""
