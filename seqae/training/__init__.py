"""Training with Lightning."""

from seqae.extras import extra

with extra("train"):
    import lightning.pytorch  # noqa: F401 - before any module here, as most need it
