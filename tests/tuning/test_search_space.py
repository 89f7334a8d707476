import pytest

from textclf.config import ModelOptions, TrainingOptions
from textclf.errors import ConfigError
from textclf.fields import rules
from textclf.tuning.search_space import SEARCHED, TABLE, check_space, sagemaker_ranges, search_space, usual_space

RULES = {**rules(ModelOptions), **rules(TrainingOptions)}


@pytest.mark.parametrize("item", TABLE, ids=lambda item: item.name)
def test_every_range_is_within_the_bounds_of_its_option(item):
    for value in item.choices or (item.low, item.high):
        assert RULES[item.name].holds(value)
        assert item.holds(value)
    assert item.is_whole == (not item.choices and RULES[item.name].kind is int)


def test_sagemaker_gets_the_same_ranges_as_strings():
    assert sagemaker_ranges() == {
        "ContinuousParameterRanges": [
            {"Name": "init_lr", "MinValue": "0.00001", "MaxValue": "0.0003", "ScalingType": "Logarithmic"},
            {"Name": "dropout", "MinValue": "0.0", "MaxValue": "0.3", "ScalingType": "Linear"},
            {"Name": "r_drop", "MinValue": "0.0", "MaxValue": "2.0", "ScalingType": "Linear"},
            {"Name": "layer_decay", "MinValue": "0.7", "MaxValue": "1.0", "ScalingType": "Linear"},
        ],
        "IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "6", "ScalingType": "Linear"}],
        "CategoricalParameterRanges": [],
    }
    assert sagemaker_ranges(search_space(["batch_size"]))["CategoricalParameterRanges"] == [
        {"Name": "batch_size", "Values": ["8", "16", "32"]}
    ]


def test_sagemaker_accepts_every_range():
    """AWS's own description of the request, which botocore contains."""
    loaders, model, validate = (pytest.importorskip(f"botocore.{name}") for name in ("loaders", "model", "validate"))
    service = model.ServiceModel(loaders.Loader().load_service_model("sagemaker", "service-2"))
    shape = service.shape_for("ParameterRanges")
    report = validate.ParamValidator().validate(sagemaker_ranges(TABLE), shape)
    assert not report.has_errors(), report.generate_report()


def test_names_are_checked():
    assert tuple(item.name for item in search_space()) == SEARCHED
    with pytest.raises(ConfigError, match=r"expected options among init_lr, .*, got lr"):
        search_space(["lr"])
    with pytest.raises(ConfigError, match="at least one option"):
        search_space([])


def test_layer_decay_is_searched_with_adamw_only():
    assert usual_space("AdamW") == search_space()
    assert [item.name for item in usual_space("sgd", ["epochs"])] == ["init_lr", "dropout", "r_drop"]
    with pytest.raises(ConfigError, match="values for all"):
        usual_space("adamw", SEARCHED)


def test_both_ends_of_all_ranges_are_tried():
    tried = []
    check_space(search_space(["epochs", "pooling"]), tried.append)
    assert tried == [{"epochs": 1, "pooling": "cls"}, {"epochs": 6, "pooling": "mean"}]
