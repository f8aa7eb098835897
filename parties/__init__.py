"""Who: holders, capacities in which people act for them, and credentials (主体、身份、代办关系)."""

from parties.credentials import Authenticator, Credentials
from parties.registry import HolderRef, PartyFacts
from parties.service import Parties

__all__ = ["Authenticator", "Credentials", "HolderRef", "Parties", "PartyFacts"]
