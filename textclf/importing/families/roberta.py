"""RoBERTa (Liu et al. 2019): positions start behind the padding id, and the head has the pooler."""

from textclf.graph.bert_weights import HUGGING_FACE_LAYER_MODULES
from textclf.importing.families.family import Family, bert_embeddings

ROBERTA = Family(
    architecture="RobertaForSequenceClassification",
    modules={
        **bert_embeddings("roberta"),
        "pooler_transform": "classifier.dense",
        "classifier": "classifier.out_proj",
    },
    layer="roberta.encoder.layer.{}.",
    layer_modules=HUGGING_FACE_LAYER_MODULES,
    skipped_positions=None,
    defaults={"layer_norm_eps": 1e-5, "hidden_act": "gelu", "pad_token_id": 1},
)
