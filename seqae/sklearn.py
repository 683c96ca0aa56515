"""A transformer for scikit-learn: texts to latents and back, in pipelines and searches."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

import seqae
from seqae.bundle.find_bundle import DEMO
from seqae.bundle.operations.latent_ops import Latents
from seqae.bundle.operations.text_operations import Part, TooLong
from seqae.data.containers import is_table, list_column, read_texts
from seqae.extras import extra
from seqae.recipes import recipe_names

with extra("eval"):
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted


class TextAutoencoderTransformer(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc] # scikit-learn has no types
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Turn texts into latents by an autoencoder that `fit` trains on them, or by a trained one.

        features = TextAutoencoderTransformer(max_steps=2000, random_state=0)
        make_pipeline(features, LogisticRegression()).fit(texts, labels)
        make_pipeline(TextAutoencoderTransformer(bundle="runs/mine"), LogisticRegression())

    Texts may be in a list, a Series, an array of shape (n,) or (n, 1), or a table of one column.

    Args:
        recipe: name of a recipe, or a YAML file.
        max_steps: optimizer steps; None trains as long as the recipe says.
        options: other options of `seqae.fit`.
        bundle: folder of a bundle or a run, which `fit` loads instead of training; or `demo`.
        run_dir: the run's folder; None keeps the trained model in memory only.
        normalize: whether to divide each latent by its norm. `inverse_transform` is then a guess,
            since the norm is lost.
        part: which part of the latents to return, for a model whose latents have parts: `content`
            or `order`. A part alone has no `inverse_transform`.
        too_long: what to do with a text of more tokens than the model accepts.
        batch_size: texts encoded at once; None takes what has measured fast.
        device: where the model computes, once it is trained.
        random_state: seeds the training; an int, a RandomState, or None for a random one.
        verbose: whether to print what the command prints.

    Attributes:
        model_: the TextAutoencoder.
    """

    def __init__(
        self,
        recipe: str = "gru",
        *,
        max_steps: int | None = None,
        options: Mapping[str, Any] | None = None,
        bundle: str | Path | None = None,
        run_dir: str | Path | None = None,
        normalize: bool = False,
        part: Part | None = None,
        too_long: TooLong = "truncate",
        batch_size: int | None = None,
        device: str = "cpu",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.recipe, self.max_steps, self.options = recipe, max_steps, options
        self.bundle, self.run_dir = bundle, run_dir
        self.normalize, self.part = normalize, part
        self.too_long, self.batch_size = too_long, batch_size
        self.device, self.random_state, self.verbose = device, random_state, verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on texts, or load the bundle.

        Args:
            X: n texts.
            y: not used.

        Raises:
            ValueError: as `seqae.fit` and `seqae.load`.
        """
        texts = _texts(X)
        if self.bundle is not None:
            self.model_ = seqae.load(self.bundle, self.device)
        else:
            self.model_ = self._train(texts).to(self.device)
        return self

    def transform(self, X: Any) -> Latents:
        """Encode n texts to latents, (n, Z) float32."""
        check_is_fitted(self)
        latents: Latents = self.model_.encode(
            _texts(X),
            self.too_long,
            normalize=self.normalize,
            batch_size=self.batch_size,
            part=self.part,
        )
        return latents

    def inverse_transform(self, X: Any) -> NDArray[np.object_]:
        """Decode latents (n, Z) to n texts, (n,) of str."""
        check_is_fitted(self)
        decoded = self.model_.decode(np.atleast_2d(X), batch_size=self.batch_size)
        return np.array(decoded, dtype=object)

    def _train(self, texts: list[str]) -> seqae.TextAutoencoder:
        path = Path(self.recipe)
        is_model = path.is_dir() or (self.recipe == DEMO and not path.exists())
        if is_model and self.recipe not in recipe_names():
            raise ValueError(
                f"`recipe` must be the name of a recipe or a YAML file, but it is {path} instead, "
                f"the folder of a model. To use that, write `bundle={str(path)!r}`."
            )
        options = dict(self.options or {})
        if self.max_steps is not None:
            options["max_steps"] = self.max_steps
        seed = int(check_random_state(self.random_state).randint(2**31))
        for name in ("seed_everything", "model.seed", "data.seed"):
            options.setdefault(name, seed)
        if not self.verbose:
            options.setdefault("trainer.enable_progress_bar", False)
            options.setdefault("samples", 0)
        with _run_dir(self.run_dir) as run_dir, _printing(self.verbose):
            return seqae.fit(texts, self.recipe, run_dir=run_dir, **options)

    @property
    def _n_features_out(self) -> int:
        """Z, or the size of the part, for `get_feature_names_out`."""
        return self.model_.part_dim(self.part)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.non_deterministic = True  # as any training in float32 on several threads
        return tags


def _texts(values: Any) -> list[str]:
    """List texts; a column selected as a table of one column is one, too."""
    if is_table(values) and len(names := list(values)) == 1:
        values = list_column("X", values, names[0])
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if isinstance(values, str):
        raise ValueError("`X` must be a list of texts, but it is one text. Put it in a list.")
    return read_texts("X", values)[0]


@contextmanager
def _run_dir(given: str | Path | None) -> Iterator[Path]:
    """Give the folder of a run, a temporary one if there is none."""
    if given is not None:
        yield Path(given)
        return
    with tempfile.TemporaryDirectory(prefix="seqae-") as folder:
        yield Path(folder) / "run"


@contextmanager
def _printing(is_wanted: bool) -> Iterator[None]:
    """Keep what is printed from the terminal, unless it is wanted."""
    if is_wanted:
        yield
        return
    with redirect_stdout(StringIO()):
        yield
