"""DistilBERT (Sanh et al. 2019): no token types, other names, and ReLU before the classifier."""

from textclf.importing.families.family import Family

DISTILBERT = Family(
    architecture="DistilBertForSequenceClassification",
    modules={
        "word_embeddings": "distilbert.embeddings.word_embeddings",
        "position_embedding": "distilbert.embeddings.position_embeddings",
        "embeddings/layer_norm": "distilbert.embeddings.LayerNorm",
        "pooler_transform": "pre_classifier",
        "classifier": "classifier",
    },
    layer="distilbert.transformer.layer.{}.",
    layer_modules={
        "self_attention/query": "attention.q_lin",
        "self_attention/key": "attention.k_lin",
        "self_attention/value": "attention.v_lin",
        "self_attention/attention_output": "attention.out_lin",
        "self_attention_layer_norm": "sa_layer_norm",
        "intermediate": "ffn.lin1",
        "output": "ffn.lin2",
        "output_layer_norm": "output_layer_norm",
    },
    config_names={
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
    },
    pooler="relu",
    has_token_types=False,
    defaults={"layer_norm_eps": 1e-12, "activation": "gelu"},
)
