"""Names of headers that modules without a web framework need: the launcher starts before anything large is imported."""

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
INFERENCE_HEADER_LENGTH = "Inference-Header-Content-Length"
