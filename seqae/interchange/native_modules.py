"""An LSTM encoder in sentence-transformers' own modules, which need neither our package nor a flag.

    WordEmbeddings ─► LSTM ─► Pooling ─► Dense ─► LayerNorm or Normalize

    last state, one direction     Pooling: lasttoken
    last states, two directions   two Poolings: the forward state of the last token is put aside,
                                  then WordWeights leaves the first token alone, and its mean is
                                  the backward state there
    mean and maximum              Pooling: mean, max
    sum of bound positions        none: no module knows where a token stands

The library cuts a text that is too long without an end token, so its embedding differs from ours.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.extras import extra
from seqae.interchange.native_tokenizer import native_tokenizer
from seqae.model.encoders import Encoder, LSTMEncoder
from seqae.model.latents import (
    DeterministicLatent,
    GaussianLatent,
    Latent,
    VonMisesFisherLatent,
)
from seqae.model.recurrent import LSTMStack

with extra("sentence-transformers"):
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.sentence_transformer.modules import (
        LSTM,
        LayerNorm,
        Pooling,
        WordEmbeddings,
        WordWeights,
    )

LINE = "Use `--format sentence-transformers`, which has every model."
FORWARD = "cls_token_embeddings"  # the key at which Pooling looks for the mode `cls`


def native_modules(model: TextAutoencoder) -> list[nn.Module]:
    """Make the modules; their weights are copies.

    Raises:
        ValueError: if there is something that they cannot compute; it names that.
    """
    autoencoder = model.autoencoder
    encoder = _checked_encoder(autoencoder.encoder)
    if autoencoder.content is not None:
        raise _refusal("content", "null", type(autoencoder.content).__name__)
    embedding = autoencoder.embedding.weight.detach().cpu().clone()
    words = WordEmbeddings(
        native_tokenizer(model), embedding, max_seq_length=autoencoder.max_length
    )
    lstm = _lstm(encoder, autoencoder.embedding_dim)
    pooling, choice = _pooling(encoder, model)
    return [words, lstm, *pooling, *_latent(autoencoder.latent, choice)]


def _checked_encoder(encoder: Encoder) -> LSTMEncoder:
    if not isinstance(encoder, LSTMEncoder):
        raise _refusal("encoder", "LSTMEncoder", type(encoder).__name__)
    if encoder.pooling == "position":
        raise _refusal("pooling", "last or mean_max", encoder.pooling)
    return encoder


def _lstm(encoder: LSTMEncoder, embedding_dim: int) -> LSTM:
    """Make one LSTM of our layers, each of which is one for each direction."""
    stack = encoder.get_submodule(LSTMStack.name)
    assert isinstance(stack, LSTMStack)
    lstm = LSTM(
        embedding_dim,
        encoder.hidden_dim,
        encoder.num_layers,
        encoder.dropout if encoder.num_layers > 1 else 0.0,
        encoder.bidirectional,
    )
    weights = {}
    for depth, layer in enumerate(stack.layers):
        assert isinstance(layer, nn.ModuleList)
        for backward, rnn in enumerate(layer):
            for name, weight in rnn.state_dict().items():
                native = name.replace("_l0", f"_l{depth}") + "_reverse" * backward
                weights[f"encoder.{native}"] = weight.cpu()
    lstm.load_state_dict(weights)
    return lstm


def _pooling(encoder: LSTMEncoder, model: TextAutoencoder) -> tuple[list[nn.Module], Tensor]:
    """Return the modules that pool, and which of their results, (H, D), are our encoder's."""
    size = encoder.states_dim
    if encoder.pooling == "mean_max":
        return [Pooling(size, ("mean", "max"))], torch.eye(2 * size)
    if not encoder.bidirectional:
        return [Pooling(size, "lasttoken")], torch.eye(size)
    half = encoder.hidden_dim
    forward = torch.eye(half, size)
    aside = Dense(
        size,
        half,
        bias=False,
        activation_function=None,
        init_weight=forward,
        module_output_name=FORWARD,
    )
    vocabulary = model.tokenizer.vocabulary
    names = [str(index) for index in range(vocabulary.size)]
    only_first = WordWeights(names, {names[vocabulary.bos_id]: 1.0}, unknown_word_weight=0.0)
    modules = [Pooling(size, "lasttoken"), aside, only_first, Pooling(size, ("cls", "mean"))]
    choice = torch.zeros(size, half + size)
    choice[:half, :half] = choice[half:, half + half :] = torch.eye(half)
    return modules, choice


def _latent(latent: Latent, choice: Tensor) -> list[nn.Module]:
    """Make what maps the pooled states (D) to the latent (Z).

    Args:
        latent: of the model.
        choice: (H, D), which makes what the latent reads of what was pooled.
    """
    if isinstance(latent, DeterministicLatent):
        modules = [] if latent.latent_dim is None else [_dense(latent.projection, choice)]
        if not modules and choice.shape[0] != choice.shape[1]:
            modules = [_dense(None, choice)]
        if latent.normalize == "layer":
            modules.append(LayerNorm(latent.output_dim))
        elif latent.normalize == "sphere":
            modules.append(Normalize())
        return modules
    if isinstance(latent, GaussianLatent):
        return [_dense(latent.mean, choice, latent)]
    if isinstance(latent, VonMisesFisherLatent):
        return [_dense(latent.mean, choice), Normalize()]
    kinds = "DeterministicLatent, GaussianLatent or VonMisesFisherLatent"
    raise _refusal("latent", kinds, type(latent).__name__)


def _dense(linear: Any, choice: Tensor, normalized: GaussianLatent | None = None) -> Dense:
    """Make a linear layer of a linear map, and the normalisation over the batch that follows it.

    Args:
        linear: (H) to (Z); None keeps H as it is.
        choice: as `_latent`.
        normalized: whose `batch_norm`, if there is one, follows.
    """
    chosen = choice.double()
    weight, bias = torch.eye(len(choice)).double(), None
    if linear is not None:
        weight, bias = linear.weight.detach().cpu().double(), linear.bias.detach().cpu().double()
    if normalized is not None and normalized.batch_norm:
        statistics = normalized.normalize
        assert statistics.running_var is not None
        assert statistics.running_mean is not None
        deviation = (statistics.running_var.cpu().double() + statistics.eps).sqrt()
        scale = normalized.batch_norm / deviation
        weight = weight * scale[:, None]
        assert bias is not None, "the mean of a posterior is a linear map"
        bias = (bias - statistics.running_mean.cpu().double()) * scale
        bias = bias + normalized.shift.detach().cpu().double()
    return Dense(
        choice.shape[1],
        len(weight),
        bias=bias is not None,
        activation_function=None,
        init_weight=(weight @ chosen).float(),
        init_bias=None if bias is None else bias.float(),
    )


def _refusal(key: str, wanted: str, found: str) -> ValueError:
    return ValueError(
        f"`{key}` must be {wanted} for sentence-transformers' own modules, but it is {found} "
        f"instead. {LINE}"
    )
