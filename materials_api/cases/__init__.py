"""Cases (办件): opened, decided and closed; their requirements, and what exempts from them."""
