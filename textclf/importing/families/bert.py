"""BERT (Devlin et al. 2019)."""

from textclf.graph.bert_weights import HUGGING_FACE_LAYER_MODULES
from textclf.importing.families.family import Family, bert_embeddings

BERT = Family(
    architecture="BertForSequenceClassification",
    modules={**bert_embeddings("bert"), "pooler_transform": "bert.pooler.dense", "classifier": "classifier"},
    layer="bert.encoder.layer.{}.",
    layer_modules=HUGGING_FACE_LAYER_MODULES,
    defaults={"layer_norm_eps": 1e-12, "hidden_act": "gelu"},
)
