"""LikelihoodObjective: what nearly all objectives share, the cross-entropy of the target tokens.

The unit of every loss is nats per target token. Whatever an objective adds for each sentence (a KL
term, a penalty) it adds as a sum over sentences before it divides by the number of tokens, so that
the weights in the papers, which are relative to the cross-entropy of a whole sentence, stay what
they are, and so that devices and batches of other sizes add up to the same gradient.

The functions at the end check which latents an objective can train, and draw from their prior.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor
from typing_extensions import override

from seqae.batch import Batch, to_device_of
from seqae.component import check_range
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.cross_entropy import linear_cross_entropy
from seqae.model.latents import DeterministicLatent, LatentOutput, StochasticLatent
from seqae.model.latents.latent_noise import perturbed_by_text
from seqae.model.latents.nested_dropout import drop_last_numbers
from seqae.model.memory.cross_attention import Memory
from seqae.objectives.objective import Objective


@dataclass(frozen=True)
class TokenSums:
    """Sums over the target tokens of a batch.

    Attributes:
        loss: (), cross-entropy in nats as it is trained, with label smoothing.
        nll: (), -log p(x|z) in nats, without gradient.
        correct: (), number of targets that have the highest logit.
        num_targets: number of targets.
        noisy_nll: (), -log p(x|z) in nats with perturbed latents, for a measurement; or None.
    """

    loss: Tensor
    nll: Tensor
    correct: Tensor
    num_targets: int
    noisy_nll: Tensor | None = None


class LikelihoodObjective(Objective):
    """Base of objectives on the cross-entropy of each token, given the latent and earlier tokens.

    All of them log `reconstruction`, the cross-entropy without smoothing in nats per token;
    `teacher_forced_accuracy`, the share of tokens that have the highest logit when the decoder
    reads the true tokens before them; and `latent_loss`, in nats per sentence, if the latent layer
    adds a term of its own. Outside training, a model with `latent_noise` also has
    `noisy_reconstruction`, the cross-entropy with noise at angles spread evenly from 0 to 90
    degrees, of which the decoder is told, and `robust_reconstruction`, the mean of that and
    `reconstruction`. This one chooses the bundle: a model that copies ever better may write ever
    worse where the latent says little, which is where samples and midpoints are.

    Args:
        label_smoothing: share of each target's probability spread over the vocabulary in training
            (Szegedy et al. 2016).
        word_dropout: chance that a token the decoder reads becomes unk in training (Bowman et al.
            2016), so that the decoder must use the latent. bos is never dropped.
    """

    sentence_means: ClassVar[frozenset[str]] = frozenset({"latent_loss"})

    def __init__(self, label_smoothing: float = 0.0, word_dropout: float = 0.0) -> None:
        super().__init__()
        check_range("label_smoothing", label_smoothing, 0.0, 0.99)
        check_range("word_dropout", word_dropout, 0.0, 1.0)
        self.label_smoothing, self.word_dropout = label_smoothing, word_dropout

    @override
    def monitored_for(self, model: SequenceAutoencoder) -> str:
        if model.latent_noise is not None and self.monitored == Objective.monitored:
            return "val/robust_reconstruction"
        return super().monitored_for(model)

    @override
    def check(self, model: SequenceAutoencoder, is_paired: bool = True) -> None:
        super().check(model, is_paired)
        if self.word_dropout and not model.decoder.autoregressive:
            raise ValueError(
                f"`word_dropout` must be 0 with {type(model.decoder).__name__}, which reads no "
                f"words, but it is {self.word_dropout} instead. Set "
                f"`model.objective.word_dropout: 0` or choose another decoder."
            )
        if self.label_smoothing and model.adaptive is not None:
            raise ValueError(
                f"`label_smoothing` must be 0 beside `adaptive`, which does not compute all words "
                f"of which each would get a share, but it is {self.label_smoothing} instead. Set "
                f"`model.objective.label_smoothing: 0`, or leave out `model.autoencoder.adaptive`."
            )

    def token_sums(
        self,
        model: SequenceAutoencoder,
        batch: Batch,
        latent: Tensor,
        generator: Generator,
        memory: Memory | None = None,
    ) -> TokenSums:
        """Decode latents (B, Z) under teacher forcing and compare with the targets.

        A decoder that looks back at the texts is given their memory. In training the model's
        `latent_noise` perturbs latents first, and its `nested_dropout` cuts them. Otherwise they
        are decoded as they are, and then once more with noise, each sentence with its own.
        """
        decoder_input, noise = batch.decoder_input, None
        if model.training and model.nested_dropout:
            latent = drop_last_numbers(latent, model.nested_dropout, generator)
        if model.training and model.latent_noise is not None:
            latent, noise = model.latent_noise.perturb(latent, generator)
        if model.training and self.word_dropout:
            decoder_input = drop_words(model, decoder_input, self.word_dropout, generator)
        sums = self._compare(model, batch, decoder_input, latent, noise, memory)
        if model.training or model.latent_noise is None:
            return sums
        noisy = self._compare(model, batch, decoder_input, *perturbed_by_text(latent, batch))
        return replace(sums, noisy_nll=noisy.nll)

    def _compare(
        self,
        model: SequenceAutoencoder,
        batch: Batch,
        decoder_input: Tensor,
        latent: Tensor,
        noise: Tensor | None,
        memory: Memory | None = None,
    ) -> TokenSums:
        features = model.decode(decoder_input, latent, noise, memory)
        smoothing = self.label_smoothing if model.training else 0.0
        output_layer = model.output_layer(batch.real_targets(features))
        if model.copying is not None:
            assert memory is not None
            sums = model.copying.cross_entropy(features, output_layer, memory, batch, smoothing)
            return TokenSums(*sums, batch.num_targets)
        target = batch.real_targets(batch.target)
        if model.adaptive is not None:
            found = model.adaptive.cross_entropy(*output_layer, target, model.is_compiled)
            return TokenSums(found.loss, found.nll.sum(), found.correct, len(target))
        sums = linear_cross_entropy(*output_layer, target, smoothing, model.is_compiled)
        return TokenSums(*sums, len(target))

    def values(
        self, sums: TokenSums, batch: Batch, latents: LatentOutput, penalty: Tensor | float = 0.0
    ) -> dict[str, Tensor]:
        """Combine the terms into `loss`, and add what all of these objectives log.

        Args:
            sums: from `token_sums`.
            batch: the sentences.
            latents: the latent layer's output; its own term, if it has one, joins the loss.
            penalty: (), the objective's other terms in nats, summed over the batch's sentences.
        """
        values = {
            "reconstruction": sums.nll / sums.num_targets,
            "teacher_forced_accuracy": sums.correct / sums.num_targets,
        }
        if sums.noisy_nll is not None:
            values["noisy_reconstruction"] = sums.noisy_nll / sums.num_targets
            both = sums.nll + sums.noisy_nll
            values["robust_reconstruction"] = both / (2 * sums.num_targets)
        if latents.loss is not None:
            penalty = penalty + len(batch) * latents.loss
            values["latent_loss"] = latents.loss.detach()
        return {"loss": (sums.loss + penalty) / sums.num_targets, **values}


def drop_words(
    model: SequenceAutoencoder, decoder_input: Tensor, chance: float, generator: Generator
) -> Tensor:
    """Replace tokens with unk, each with the given chance; never bos, the first of each row.

    Args:
        model: its vocabulary has the id of unk.
        decoder_input: (B, T-1) int64.
        chance: of each token.
        generator: on the CPU.
    """
    assert model.vocabulary is not None
    dropped = torch.rand(decoder_input.shape, generator=generator) < chance
    dropped[:, 0] = False
    dropped = to_device_of(decoder_input, dropped)
    return decoder_input.masked_fill(dropped, model.vocabulary.unk_id)


def check_stochastic(model: SequenceAutoencoder, name: str) -> StochasticLatent:
    """Return the model's latent layer, which must have a posterior.

    Args:
        model: its latent layer is checked.
        name: of the objective, for the message.

    Raises:
        ValueError: if the latent has no posterior.
    """
    if isinstance(model.latent, StochasticLatent):
        return model.latent
    raise ValueError(
        f"`model.autoencoder.latent` must have a posterior under {name}, but it is "
        f"{type(model.latent).__name__} instead. Set `model.autoencoder.latent: GaussianLatent`."
    )


def check_not_stochastic(model: SequenceAutoencoder, name: str) -> None:
    """Refuse a latent layer whose posterior nothing would train.

    Args:
        model: its latent layer is checked.
        name: of the objective, for the message.

    Raises:
        ValueError: if the latent has a posterior.
    """
    if isinstance(model.latent, StochasticLatent):
        raise ValueError(
            f"`model.autoencoder.latent` must have no posterior under {name}, which trains none, "
            f"but it is {type(model.latent).__name__} instead. Set "
            f"`model.autoencoder.latent: DeterministicLatent`, or `model.objective: Variational`."
        )


def check_prior(model: SequenceAutoencoder, name: str) -> None:
    """Refuse a latent layer whose latents cannot take on the distribution of the prior.

    Args:
        model: its latent layer is checked.
        name: of the objective, for the message.

    Raises:
        ValueError: if the latents lie on a sphere, are vectors of a codebook, or have a content
            part.
    """
    if model.content is not None:
        raise ValueError(
            f"`content` must be null under {name}, which moves all of a latent to its prior, but "
            f"it is a {type(model.content).__name__} instead. Leave out "
            f"`model.autoencoder.content`, or set `model.objective: Reconstruction`."
        )
    latent = model.latent
    if not isinstance(latent, (DeterministicLatent, StochasticLatent)):
        raise ValueError(
            f"`model.autoencoder.latent` must be a DeterministicLatent or have a posterior under "
            f"{name}, but it is {type(latent).__name__} instead. Set "
            f"`model.autoencoder.latent: DeterministicLatent`."
        )
    if isinstance(latent, DeterministicLatent) and latent.normalize != "none":
        raise ValueError(
            f"`normalize` must be none under {name}, whose prior is a normal one, but it is "
            f"{latent.normalize} instead. Set `model.autoencoder.latent.normalize: none`."
        )


def sample_prior(model: SequenceAutoencoder, latent: Tensor, generator: Generator) -> Tensor:
    """Draw from the latent layer's prior, or from N(0, I) if it has none.

    Args:
        model: built.
        latent: (B, Z); there are as many draws, on the same device.
        generator: on the CPU.

    Returns:
        (B, Z).
    """
    if isinstance(model.latent, StochasticLatent):
        return model.latent.sample_prior(len(latent), generator)
    return to_device_of(latent, torch.randn(latent.shape, generator=generator))
