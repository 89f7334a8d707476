"""Requests for models, endpoints and transform jobs; pure functions of configuration files and names."""

from collections.abc import Mapping, Sequence
from typing import Any

from ops.cloud.calls import Call
from ops.cloud.tags import tags_parameter
from textclf.errors import ConfigError

Json = dict[str, Any]
VARIANT = "AllTraffic"
MEMORY_SIZES = (1024, 2048, 3072, 4096, 5120, 6144)
# Keys of a variant that a serverless endpoint may have; all others are about instances.
_SERVERLESS_KEYS = ("InitialVariantWeight",)
# Keys of a model that a serverless endpoint can't have.
_NETWORK_KEYS = ("VpcConfig", "EnableNetworkIsolation")


def model_call(
    name: str,
    image: str,
    model_data: str,
    definition: Json,
    environment: Mapping[str, str],
    tags: Sequence[Mapping[str, str]],
) -> Call:
    """Make a model: the serving image with a model.tar.gz and settings.

    Args:
        name: name of the model.
        image: URI of the serving image.
        model_data: s3:// URI of model.tar.gz.
        definition: content of the file model.
        environment: settings of the server.
        tags: Key and Value of each tag.
    """
    container = {
        "Image": image,
        "ModelDataUrl": model_data,
        **({"Environment": dict(environment)} if environment else {}),
    }
    return Call(
        "sagemaker",
        "CreateModel",
        {"ModelName": name, "PrimaryContainer": container, **definition, **tags_parameter(tags)},
    )


def serverless_config(memory: int, max_concurrency: int, provisioned: int = 0) -> Json:
    """ServerlessConfig.

    Args:
        memory: MB, one of MEMORY_SIZES.
        max_concurrency: requests at a time, from 1 to 200.
        provisioned: requests at a time for which instances are kept warm; 0 for none.

    Raises:
        ConfigError: if a value is not accepted, or `provisioned` is above `max_concurrency`.
    """
    if memory not in MEMORY_SIZES:
        raise ConfigError(f"--memory: expected one of {', '.join(map(str, MEMORY_SIZES))} MB, got {memory}")
    if not 1 <= max_concurrency <= 200:
        raise ConfigError(f"--max-concurrency: expected a whole number from 1 to 200, got {max_concurrency}")
    if not 0 <= provisioned <= max_concurrency:
        raise ConfigError(
            f"--provisioned: expected a whole number from 0 to --max-concurrency ({max_concurrency}), got {provisioned}"
        )
    return {
        "MemorySizeInMB": memory,
        "MaxConcurrency": max_concurrency,
        **({"ProvisionedConcurrency": provisioned} if provisioned else {}),
    }


def serverless_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings of a serverless server: one worker, and nothing is written outside its temporary folder."""
    return {"SERVERLESS": "true", **environment}


def check_serverless_model(model: Json) -> None:
    """Check that a model can be serverless.

    Args:
        model: content of the file model.

    Raises:
        ConfigError: if it has a network of its own.
    """
    for key in _NETWORK_KEYS:
        if model.get(key):
            raise ConfigError(f"model: {key}: serverless endpoints can't have it; remove it, or leave out --serverless")


def endpoint_config_call(
    name: str,
    model: str,
    variant: Json,
    tags: Sequence[Mapping[str, str]],
    serverless: Json | None = None,
    explainer: Json | None = None,
) -> Call:
    """Make an endpoint configuration with one variant.

    Args:
        name: name of the configuration.
        model: name of the model.
        variant: content of production-variant.
        tags: Key and Value of each tag.
        serverless: ServerlessConfig, in place of instances.
        explainer: content of explainer-config; None without explanations by Clarify.

    Raises:
        ConfigError: if both serverless and an explainer are given, which AWS does not combine.
    """
    if serverless and explainer:
        raise ConfigError("--serverless can't be combined with --clarify; choose one")
    settings = variant
    if serverless:
        settings = {key: value for key, value in variant.items() if key in _SERVERLESS_KEYS}
        settings["ServerlessConfig"] = serverless
    return Call(
        "sagemaker",
        "CreateEndpointConfig",
        {
            "EndpointConfigName": name,
            "ProductionVariants": [{"VariantName": VARIANT, "ModelName": model, **settings}],
            **({"ExplainerConfig": {"ClarifyExplainerConfig": explainer}} if explainer else {}),
            **tags_parameter(tags),
        },
    )


def endpoint_call(name: str, config: str, tags: Sequence[Mapping[str, str]]) -> Call:
    """Make an endpoint with a configuration."""
    return Call(
        "sagemaker", "CreateEndpoint", {"EndpointName": name, "EndpointConfigName": config, **tags_parameter(tags)}
    )


def update_endpoint_call(name: str, config: str) -> Call:
    """Give an endpoint another configuration; AWS moves the traffic when the new one is healthy."""
    return Call("sagemaker", "UpdateEndpoint", {"EndpointName": name, "EndpointConfigName": config})


def describe_config_call(config: str) -> Call:
    """Read an endpoint configuration."""
    return Call("sagemaker", "DescribeEndpointConfig", {"EndpointConfigName": config})


def delete_calls(endpoint: str, config: str, models: Sequence[str]) -> list[Call]:
    """Delete an endpoint, its configuration and its models, in this order; "" leaves the endpoint or configuration."""
    return [
        *([Call("sagemaker", "DeleteEndpoint", {"EndpointName": endpoint})] if endpoint else []),
        *([Call("sagemaker", "DeleteEndpointConfig", {"EndpointConfigName": config})] if config else []),
        *(Call("sagemaker", "DeleteModel", {"ModelName": model}) for model in models),
    ]


def models_of(config: Json) -> list[str]:
    """Names of the models of an endpoint configuration, from the response to DescribeEndpointConfig."""
    return [variant["ModelName"] for variant in config["ProductionVariants"] if "ModelName" in variant]


def transform_call(
    name: str,
    model: str,
    config: Json,
    source: str,
    target: str,
    environment: Mapping[str, str],
    tags: Sequence[Mapping[str, str]],
) -> Call:
    """Start a transform job: score files of S3 with a model.

    Args:
        name: name of the job.
        model: name of the model.
        config: content of transform-job.
        source: s3:// URI of a file, or the beginning of the URIs of several.
        target: s3:// URI of the folder for the results, a file NAME.out for each file.
        environment: settings of the server.
        tags: Key and Value of each tag.

    Raises:
        ConfigError: if the payloads of all requests at a time are above AWS's 100 MB.
    """
    payload, concurrent = config.get("MaxPayloadInMB"), config.get("MaxConcurrentTransforms")
    if payload and concurrent and payload * concurrent > 100:
        raise ConfigError(
            f"transform-job: expected MaxPayloadInMB x MaxConcurrentTransforms of at most 100 MB, found "
            f"{payload} x {concurrent}; lower one of them"
        )
    data = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}}}
    return Call(
        "sagemaker",
        "CreateTransformJob",
        {
            "TransformJobName": name,
            "ModelName": model,
            **config,
            "TransformInput": {**config.get("TransformInput", {}), **data},
            "TransformOutput": {**config.get("TransformOutput", {}), "S3OutputPath": target},
            **({"Environment": dict(environment)} if environment else {}),
            **tags_parameter(tags),
        },
    )
