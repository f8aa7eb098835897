"""E-licences (电子证照): kinds, issuing, lifecycle, sources, verification."""
