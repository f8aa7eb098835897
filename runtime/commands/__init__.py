"""The commands of `mianjiao`, one module each; imported only when run."""
