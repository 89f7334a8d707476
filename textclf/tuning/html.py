"""A study as one self-contained HTML page with Optuna's plots."""

import base64
import hashlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna import visualization
from optuna.trial import FrozenTrial, TrialState
from plotly.offline import get_plotlyjs

from textclf.report.html_page import render_page
from textclf.tuning.results import METRIC_NAMES, best_lines, params_text
from textclf.tuning.study import SharedStudy, curve_of, error_of, is_default, is_interrupted, number_of

_HEIGHT = 420
_STATES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "stopped early", TrialState.FAIL: "failed"}
# Plotly draws the plots of parallel coordinates with code that it makes at run time, which the page's policy forbids.
_PLOTS: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("Best value so far", visualization.plot_optimization_history),
    ("Metric after each epoch", visualization.plot_intermediate_values),
    ("Metric by option", visualization.plot_slice),
    ("Importance of each option", visualization.plot_param_importances),
    ("Time of each trial", visualization.plot_timeline),
)


def study_page(study: SharedStudy, title: str, summary: Sequence[str] = ()) -> str:
    """The page; `title` names the data set, `summary` is about the repeats.

    All texts are escaped, and the page loads nothing.
    """
    metric = study.options.metric
    finished = study.finished
    library, script = get_plotlyjs(), Path(__file__).with_name("plots.js").read_text(encoding="utf-8")
    return render_page(
        "tuning_page.html.jinja",
        title=title,
        metric=METRIC_NAMES[metric],
        best=[*best_lines(finished, metric), *summary] if finished else ["no trial has finished yet"],
        rows=_rows(study),
        plots=_plots(study.study, METRIC_NAMES[metric]),
        scripts=[library, script],
        hashes=[_hash(library), _hash(script)],
    )


def _rows(study: SharedStudy) -> list[dict[str, Any]]:
    best = study.finished[0].number if study.finished else None
    return [
        {
            "number": number_of(trial),
            "is_best": trial.number == best,
            "state": _STATES.get(trial.state, "not finished") + (", the default recipe" if is_default(trial) else ""),
            "value": trial.value if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
            "epochs": f"{len(trial.intermediate_values)} of {curve_of(trial).epochs}" if trial.params else "",
            "seconds": None if trial.duration is None else round(trial.duration.total_seconds()),
            "params": params_text(trial.params),
            "error": error_of(trial),
        }
        for trial in _started(study.study)
    ]


def _started(study: optuna.Study) -> list[FrozenTrial]:
    """The trials by number, without the interrupted attempts of continued ones."""
    trials = study.get_trials(deepcopy=False)
    return sorted((one for one in trials if number_of(one) >= 0 and not is_interrupted(one)), key=number_of)


def _plots(study: optuna.Study, metric: str) -> list[dict[str, str]]:
    """Title and JSON of each plot that the trials are enough for."""
    # Optuna counts each attempt; a copy has the numbers of the table.
    numbered = optuna.create_study(direction=study.direction)
    numbered.add_trials(_started(study))
    plots = []
    for title, plot in _PLOTS:
        is_named = plot not in (visualization.plot_intermediate_values, visualization.plot_timeline)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                figure = plot(numbered, target_name=metric) if is_named else plot(numbered)
        except (ValueError, RuntimeError):
            continue  # Too few trials.
        if not figure.data:
            continue
        figure.update_layout(title=None, height=_HEIGHT, template="plotly_white", margin={"t": 20, "r": 20})
        if plot is visualization.plot_intermediate_values:
            figure.update_layout(xaxis_title="epoch", yaxis_title=metric)
        # No end of a script element inside the data.
        plots.append({"title": title, "json": figure.to_json().replace("<", "\\u003c")})
    return plots


def _hash(script: str) -> str:
    """The hash by which the policy of the page allows a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
