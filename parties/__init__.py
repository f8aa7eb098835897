"""Who: holders, capacities in which people act for them, and credentials (主体、身份、代办关系)."""
