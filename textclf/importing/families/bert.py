"""BERT (Devlin et al. 2019)."""

from textclf.importing.families.family import BERT_LAYER_MODULES, Family, bert_embeddings

BERT = Family(
    architecture="BertForSequenceClassification",
    modules={**bert_embeddings("bert"), "pooler_transform": "bert.pooler.dense", "classifier": "classifier"},
    layer="bert.encoder.layer.{}.",
    layer_modules=BERT_LAYER_MODULES,
    defaults={"layer_norm_eps": 1e-12, "hidden_act": "gelu"},
)
