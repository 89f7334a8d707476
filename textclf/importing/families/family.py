"""The names and computations in which an encoder family differs from BERT."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Family:
    """Names and differences of a family.

    Attributes:
        architecture: class of the classifier, as config.json names it in `architectures`.
        modules: parts of an encoder by the names of textclf.graph.bert_weights -> modules of the checkpoint, without
            those of layers.
        layer: beginning of the name of a layer's modules, with {} for its number.
        layer_modules: the same parts of a layer, after its beginning.
        config_names: sizes and settings that config.json names otherwise: name of BERT -> name here.
        pooler: activation before the classifier.
        has_token_types: whether the encoder adds an embedding of the token type.
        skipped_positions: positions at the start of the position table that no text uses; None takes those up to the
            padding id, which this family does not use for tokens.
        defaults: values of config.json that may be missing.
    """

    architecture: str
    modules: Mapping[str, str]
    layer: str
    layer_modules: Mapping[str, str]
    config_names: Mapping[str, str] = field(default_factory=dict)
    pooler: str = "tanh"
    has_token_types: bool = True
    skipped_positions: int | None = 0
    defaults: Mapping[str, object] = field(default_factory=dict)


def bert_embeddings(prefix: str) -> dict[str, str]:
    """The modules of BERT's embeddings below `prefix`."""
    return {
        "word_embeddings": f"{prefix}.embeddings.word_embeddings",
        "position_embedding": f"{prefix}.embeddings.position_embeddings",
        "type_embeddings": f"{prefix}.embeddings.token_type_embeddings",
        "embeddings/layer_norm": f"{prefix}.embeddings.LayerNorm",
    }
