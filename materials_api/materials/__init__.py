"""Materials (电子材料): registered, controlled by their holder, declared false, kept, erased."""
