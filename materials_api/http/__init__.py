"""Routes of this room: uploads, cases, materials, documents, tasks, grants, verifications."""
