"""Parse a request body into the texts to score and the format of the response."""

import dataclasses
from collections.abc import Collection

from serving.api.accept import DEFAULT_COLUMNS, CsvColumns
from serving.api.other_servers import OTHER_KEYS, texts_for_other_server
from serving.api.records import csv_request, json_lines_request
from serving.api.request_body import CSV, CSV_WITH_HEADER, JSON, JSON_LINES
from serving.api.requests import TEXT_KEYS, Limits, PredictRequest, object_of, texts_of


def parse_predict_request(
    content: str,
    media_type: str,
    limits: Limits,
    keys: Collection[str] = TEXT_KEYS,
    columns: CsvColumns = DEFAULT_COLUMNS,
) -> PredictRequest:
    """Parse the body of a request for predictions.

    Args:
        content: text of the body.
        media_type: JSON, CSV, CSV_WITH_HEADER or JSON_LINES.
        keys: accepted keys of a JSON body: some of text, X and data. With all of them, the bodies of other servers
            are accepted, too.
        columns: columns of a response in CSV.

    Raises:
        ApiError: if the body does not match media_type, has another shape, or its texts exceed the limits.
    """
    if media_type == JSON:
        body = object_of(content, limits)
        if keys is TEXT_KEYS and not OTHER_KEYS.isdisjoint(body):
            return texts_for_other_server(body, limits)
        return texts_of(body, limits, keys)
    if media_type == JSON_LINES:
        return json_lines_request(content, limits)
    assert media_type in (CSV, CSV_WITH_HEADER), media_type  # noqa: S101 media_type() accepts no other
    parsed = csv_request(content, limits, has_header=media_type == CSV_WITH_HEADER)
    return dataclasses.replace(parsed, columns=columns)
