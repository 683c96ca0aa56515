"""PrepareCLI: what `seqae prepare` does with the options of `fit`."""

from __future__ import annotations

from typing_extensions import override

from seqae.training.command.lightning_cli import TrainingCLI


class PrepareCLI(TrainingCLI):
    """Prepare the data as `fit` would, with the same options, and do no more.

    Args:
        args: those of `fit`.
    """

    def __init__(self, args: list[str]) -> None:
        super().__init__("fit", args)

    @override
    def instantiate_classes(self) -> None:
        self.datamodule = self.parser.instantiate_classes(self.config)["fit"].data

    def _run_subcommand(self, subcommand: str) -> None:
        self.datamodule.prepare_data()
        data, text = self.datamodule.report_files
        print(text.read_text(encoding="utf-8"))
        print(f"prepared: {data.parent}")
