"""Views of requests for explanations: /explain, and /invocations with `explain`."""

from collections.abc import Callable, Mapping
from typing import Any

from serving.api.custom_attributes import CustomAttributes
from serving.api.errors import ApiError
from serving.api.explain_requests import check_explained_format, parse_explain_request
from serving.api.explanations import (
    clarify_body,
    explain_body,
    explain_list_body,
    explanation_fields,
    probabilities_csv,
)
from serving.api.request_body import JSON
from serving.api.requests import Limits, PredictRequest
from serving.explaining import ExplainOptions, RequestExplainer, chosen_classes
from serving.observability.request_record import RequestRecord
from serving.rendering import render_response
from textclf.explain.explanation import UNITS, Explanation
from textclf.runtime.prediction import Prediction
from textclf.runtime.predictor import Predictor

# Predicts a text of a request, and logs the prediction.
_Predict = Callable[[RequestRecord, Predictor, str], Prediction]


class ExplainViews:
    """Parses requests for explanations and renders the responses.

    Args:
        explainer: explains the texts.
        predict: predicts a text; the prediction log gets each prediction once.
        limits: limits of a request.
        max_evaluations: maximum number of evaluations that a request may ask for.
    """

    def __init__(self, explainer: RequestExplainer, predict: _Predict, limits: Limits, max_evaluations: int) -> None:
        self.explainer = explainer
        self._predict = predict
        self._limits = limits
        self._max_evaluations = max_evaluations

    def explain(self, record: RequestRecord, predictor: Predictor, environ: Mapping[str, Any], content: str) -> bytes:
        """Return the response body of POST /explain; the caller holds a slot for explanations."""
        parsed = parse_explain_request(content, self._limits, self._max_evaluations, UNITS)
        del content  # Up to MAX_BODY_BYTES, and the texts are copies.
        self.explainer.check(predictor, parsed.texts)
        classes = chosen_classes(parsed.classes, predictor.class_names)
        options = ExplainOptions(parsed.unit, parsed.max_evaluations)
        predictions, explanations = self._explained(record, predictor, environ, parsed.texts, options)
        if parsed.is_clarify:
            return clarify_body(*probabilities_csv(predictions), explanations, classes)
        if parsed.is_list:
            return explain_list_body(predictions, explanations, classes, predictor.full_name)
        return explain_body(predictions[0], explanations[0], classes, predictor.full_name)

    def check_invocation(self, predictor: Predictor, parsed: PredictRequest, attributes: CustomAttributes) -> None:
        """Check that a request to /invocations can be explained, before it takes a slot."""
        check_explained_format(parsed.payload_format)
        if attributes.is_clarify:  # Its explanations have no place for an error.
            for error in parsed.errors.values():
                raise ApiError(*error)
        self.explainer.check(predictor, parsed.texts)

    def invocation(
        self,
        record: RequestRecord,
        predictor: Predictor,
        environ: Mapping[str, Any],
        parsed: PredictRequest,
        attributes: CustomAttributes,
    ) -> tuple[bytes, str]:
        """Return body and content type of the response of POST /invocations; the caller holds a slot."""
        predictions, explanations = self._explained(record, predictor, environ, parsed.texts, ExplainOptions())
        if attributes.is_clarify:
            predicted = render_response(parsed, predictions, predictor)
            return clarify_body(*predicted, explanations, predictor.class_names), JSON
        return render_response(parsed, predictions, predictor, list(map(explanation_fields, explanations)))

    def _explained(
        self,
        record: RequestRecord,
        predictor: Predictor,
        environ: Mapping[str, Any],
        texts: list[str],
        options: ExplainOptions,
    ) -> tuple[list[Prediction], list[Explanation]]:
        record.scored = texts

        def predict(text: str) -> Prediction:
            return self._predict(record, predictor, text)

        return self.explainer.explain(predictor, texts, predict, environ, record, options)
