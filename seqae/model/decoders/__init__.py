"""Decoders: the latent to features of each token to write."""

from seqae.model.decoders.attention_gru import AttentionGRUDecoder
from seqae.model.decoders.attention_transformer import AttentionTransformerDecoder
from seqae.model.decoders.base import AttentionDecoder, Decoder
from seqae.model.decoders.dense_decoder import DenseDecoder
from seqae.model.decoders.recurrent_decoder import GRUDecoder, LSTMDecoder
from seqae.model.decoders.transformer_decoder import TransformerDecoder

__all__ = [
    "AttentionDecoder",
    "AttentionGRUDecoder",
    "AttentionTransformerDecoder",
    "Decoder",
    "DenseDecoder",
    "GRUDecoder",
    "LSTMDecoder",
    "TransformerDecoder",
]
