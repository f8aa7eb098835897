"""The documents that a case leaves behind: their kinds, what stands on them, their pages."""
