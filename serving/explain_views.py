"""Views of requests for explanations: /explain, and /invocations with `explain`."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from serving.api.custom_attributes import CustomAttributes
from serving.api.explain_requests import check_explained_format, parse_explain_request
from serving.api.explanations import (
    clarify_body,
    explain_body,
    explain_list_body,
    explanation_fields,
    probabilities_csv,
)
from serving.api.request_body import JSON
from serving.api.requests import Limits, PredictRequest, RecordError
from serving.explaining import ExplainOptions, RequestExplainer, chosen_classes
from serving.observability.request_record import RequestRecord
from serving.rendering import in_order, render_response, scored_apart
from textclf.explain.explanation import UNITS
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
        record.scored = parsed.texts
        predict = functools.partial(self._predict, record, predictor)
        predictions, explanations = self.explainer.explain(predictor, parsed.texts, predict, environ, record, options)
        if parsed.is_clarify:
            return clarify_body(*probabilities_csv(predictions), explanations, classes)
        if parsed.is_list:
            return explain_list_body(predictions, explanations, classes, predictor.full_name)
        return explain_body(predictions[0], explanations[0], classes, predictor.full_name)

    def check_invocation(self, predictor: Predictor, parsed: PredictRequest) -> None:
        """Check that a request to /invocations can be explained, before it takes a slot."""
        check_explained_format(parsed.payload_format)
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

        def predict(text: str) -> Prediction | RecordError:
            if not parsed.is_each_on_its_own:
                return self._predict(record, predictor, text)
            return next(scored_apart([text], lambda texts: [self._predict(record, predictor, texts[0])]))

        record.scored = parsed.texts
        predictions, explanations = self.explainer.explain(
            predictor, parsed.texts, predict, environ, record, ExplainOptions()
        )
        if attributes.is_clarify:
            predicted = render_response(parsed, predictions, predictor)
            each = iter(explanations)
            of_records = [
                next(each) if isinstance(found, Prediction) else None for found in in_order(parsed, predictions)
            ]
            return clarify_body(*predicted, of_records, predictor.class_names), JSON
        return render_response(parsed, predictions, predictor, list(map(explanation_fields, explanations)))
