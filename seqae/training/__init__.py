"""Training with Lightning.

module.py      AutoencoderModule; evaluated_module.py adds what a validation measures
fit.py         the same from Python: `seqae.fit`
command/       the command `seqae fit` and its options
starting/      what a training begins with: a bundle, word vectors, a tokenizer
optimization/  the optimizer's step
callbacks/     what happens beside the steps: progress, bundles, tables, pre-emption
checkpoints/   the training's state on disk
logs/          where its figures go
run/           the folder of a run
distributed/   many processes
"""

from seqae.extras import extra

with extra("train"):
    import lightning.pytorch  # noqa: F401 - before any module here, as most need it
