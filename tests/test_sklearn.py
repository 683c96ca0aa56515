"""TextAutoencoderTransformer is a transformer as scikit-learn has them."""

from __future__ import annotations

import contextlib
import pickle
import warnings
from functools import partial
from pathlib import Path
from typing import Any
from unittest import SkipTest

import contracts
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator
from small import SENTENCES, write_recipe

import seqae
from seqae.sklearn import TextAutoencoderTransformer

TEXTS = [*SENTENCES, *(f"{text} again" for text in SENTENCES)]


@pytest.fixture
def fitted(overfit_run: Path) -> TextAutoencoderTransformer:
    return TextAutoencoderTransformer(bundle=overfit_run).fit(TEXTS)


def test_it_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(write_recipe(tmp_path))
    transformer = TextAutoencoderTransformer(recipe, max_steps=1, random_state=3)
    first = transformer.fit_transform(TEXTS)
    assert capsys.readouterr().out == ""
    assert first.shape == (len(TEXTS), 64)
    kept = clone(transformer).set_params(run_dir=tmp_path / "run", verbose=True)
    assert np.array_equal(kept.fit(pd.Series(TEXTS)).transform(TEXTS), first)
    assert "bundle: " in capsys.readouterr().out
    assert np.array_equal(seqae.load(tmp_path / "run").encode(TEXTS), first)


def test_there_and_back(fitted: TextAutoencoderTransformer) -> None:
    latents = fitted.transform(SENTENCES)
    assert np.array_equal(latents, fitted.model_.encode(SENTENCES))
    texts = fitted.inverse_transform(latents)
    assert texts.shape == (len(SENTENCES),)
    assert texts.tolist() == fitted.model_.reconstruct(SENTENCES, max_length_ratio=0)
    unit = clone(fitted).set_params(normalize=True, batch_size=5).fit(TEXTS).transform(SENTENCES)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-5)


def test_in_a_pipeline(fitted: TextAutoencoderTransformer) -> None:
    labels = ["cat" in text for text in TEXTS]
    pipeline = make_pipeline(fitted, LogisticRegression(max_iter=1000)).fit(TEXTS, labels)
    assert pipeline.score(TEXTS, labels) > 0.8
    table = pd.DataFrame({"text": TEXTS, "n": range(len(TEXTS))})
    for columns in ("text", ["text"]):
        chosen = ColumnTransformer([("latent", clone(fitted), columns)]).fit_transform(table)
        np.testing.assert_array_equal(chosen, fitted.transform(TEXTS))
    assert np.array_equal(fitted.transform(np.array(TEXTS)[:, None]), fitted.transform(TEXTS))


def test_names_copies_and_pickles(fitted: TextAutoencoderTransformer) -> None:
    names = fitted.get_feature_names_out()
    assert names[0] == "textautoencodertransformer0"
    assert len(names) == fitted.transform(TEXTS[:1]).shape[1] == 64
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.transform(TEXTS), fitted.transform(TEXTS))
    assert clone(fitted).get_params() == fitted.get_params()
    frame = clone(fitted).set_output(transform="pandas").fit(TEXTS).transform(TEXTS[:2])
    assert list(frame.columns) == list(names)


def test_what_it_refuses() -> None:
    transformer = TextAutoencoderTransformer()
    for call in (transformer.transform, transformer.inverse_transform):
        with pytest.raises(NotFittedError):
            call(TEXTS)
    for wrong in ("a text", [1.0, 2.0], np.zeros((3, 2)), pd.DataFrame({"a": ["x"], "b": ["y"]})):
        assert contracts.refusal(transformer.fit, wrong).startswith("`X` must be")


def test_a_model_is_no_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    for name in ("demo", "mine"):
        message = contracts.refusal(TextAutoencoderTransformer(name).fit, TEXTS)
        assert message.startswith(
            f"`recipe` must be the name of a recipe or a YAML file, but it is {name}"
        )
        assert message.endswith(f"write `bundle={name!r}`.")
    message = contracts.refusal(TextAutoencoderTransformer("gruu").fit, TEXTS)
    assert message.startswith("`recipe` must be a file or the name of a recipe, but it is gruu")


# scikit-learn's own checks

# These give arrays of numbers, and this takes texts.
NOT_FOR_TEXTS = (
    "check_fit_score_takes_y",
    "check_estimators_overwrite_params",
    "check_dont_overwrite_parameters",
    "check_estimators_fit_returns_self",
    "check_readonly_memmap_input",
    "check_n_features_in_after_fitting",
    "check_positive_only_tag_during_fit",
    "check_estimators_dtypes",
    "check_estimators_empty_data_messages",
    "check_estimators_nan_inf",
    "check_estimators_pickle",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimator_sparse_tag",
    "check_complex_data",
    "check_dtype_object",
    "check_f_contiguous_array_estimator",
    "check_pipeline_consistency",
    "check_transformer_data_not_an_array",
    "check_transformer_general",
    "check_transformer_preserve_dtypes",
    "check_fit2d_1sample",
    "check_fit2d_1feature",
    "check_dict_unchanged",
    "check_fit_idempotent",
    "check_fit_check_is_fitted",
    "check_n_features_in",
    "check_fit1d",
    "check_fit2d_predict1d",
)


class OfNumbers(TextAutoencoderTransformer):
    """Says that it takes arrays of numbers, so that scikit-learn lists all its checks."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


def test_scikit_learn_sees_that_it_takes_texts() -> None:
    with pytest.warns(match="requires input"):
        check_estimator(TextAutoencoderTransformer())


def test_the_checks_that_apply_to_texts() -> None:
    passed = set()
    for estimator, check in estimator_checks_generator(OfNumbers()):
        name = (check.func if isinstance(check, partial) else check).__name__
        if name not in NOT_FOR_TEXTS:
            with warnings.catch_warnings(), contextlib.suppress(SkipTest):
                warnings.simplefilter("ignore")
                check(estimator)
                passed.add(name)
    assert len(passed) >= 10
