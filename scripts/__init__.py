"""Scripts of the repository: bootstrap, demo store, generated parts of the documents."""
