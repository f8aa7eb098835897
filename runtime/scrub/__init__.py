"""`mianjiao scrub`: every stored byte and every commitment, read again, bit by bit of the store."""
