"""Sources of labels: judged by how often they contradict the champion, and limited by quotas.

The sender of a label chooses the name of its source. Sources with few texts therefore count as one source: a
thousand invented names are judged together and share one quota.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from textclf.retraining.removals import Reason
from textclf.retraining_options import CombineOptions
from textclf.stats.label_sources import SourceContradictions, contradicting_sources

# Name for all sources with few texts; a source that has this name is one of them.
SMALL_SOURCES = "small sources"


class Sources:
    """The sources of n texts, after small ones are merged.

    Args:
        names: source of each text that is left, by its position among all texts.
        judged: positions of the texts to judge their sources by; texts of trusted sources among them are ignored.
        options: see CombineOptions.
    """

    def __init__(self, names: Mapping[int, str], judged: Sequence[int], options: CombineOptions) -> None:
        self._options = options
        trusted = set(options.trusted_sources)
        self._judged = [i for i in judged if names[i] not in trusted]
        texts = Counter(names[i] for i in self._judged)
        self._trusted = {i for i, name in names.items() if name in trusted}
        self._names = {
            i: SMALL_SOURCES if name not in trusted and texts[name] < options.contradiction_least else name
            for i, name in names.items()
        }

    def __getitem__(self, i: int) -> str:
        """The source of text i for judging and quotas: its own, or SMALL_SOURCES."""
        return self._names[i]

    def judge(
        self, contradicts: Mapping[int, bool]
    ) -> tuple[tuple[SourceContradictions, ...], dict[int, tuple[Reason, str]]]:
        """Find the sources that contradict the champion far more often than the others.

        `contradicts` says for each text to judge by whether its label differs from the champion's. Returns a result for
        each source, and the texts to remove with the reason and its detail.
        """
        options = self._options
        results = contradicting_sources(
            [self[i] for i in self._judged],
            np.array([contradicts[i] for i in self._judged], bool),
            alpha=options.contradiction_alpha,
            margin=options.contradiction_margin,
            min_texts=options.contradiction_least,
        )
        details = {
            result.source: (
                f"{result.source!r}: {result.contradictions} of {result.texts} labels contradict the champion, of the "
                f"other sources {result.other_contradictions} of {result.others} (p {result.adjusted_p:.2g})"
            )
            for result in results
            if result.is_outlier
        }
        removed = {
            i: (Reason.CONTRADICTING_SOURCE, details[source])
            for i, source in self._names.items()
            if i not in self._trusted and source in details
        }
        return results, removed

    def within_quotas(
        self,
        members: Sequence[int],
        classes: Mapping[int, int],
        capacity: int,
        source_quota: int,
        class_quotas: Sequence[int],
    ) -> tuple[list[int], dict[int, tuple[Reason, str]]]:
        """Take texts from the sources in turns, until the capacity or a quota is used up.

        Args:
            members: positions of the texts, by digest.
            classes: class id of each text.
            capacity, source_quota, class_quotas: maximum number of texts, of one source, and of each class.

        Returns:
            The texts that are kept, and the others with the reason and its detail.
        """
        of_source: Counter[str] = Counter()
        of_class: Counter[int] = Counter()
        kept: list[int] = []
        reasons: dict[int, tuple[Reason, str]] = {}
        for i in self._by_turns(members):
            source, class_id = self[i], classes[i]
            if len(kept) >= capacity:
                reasons[i] = (Reason.NEW_SHARE, f"at most {capacity} new texts")
            elif of_source[source] >= source_quota:
                reasons[i] = (Reason.SOURCE_QUOTA, f"at most {source_quota} texts of a source")
            elif of_class[class_id] >= class_quotas[class_id]:
                reasons[i] = (Reason.CLASS_QUOTA, f"at most {class_quotas[class_id]} texts of this class")
            else:
                kept.append(i)
                of_source[source] += 1
                of_class[class_id] += 1
        return kept, reasons

    def _by_turns(self, members: Sequence[int]) -> list[int]:
        """The first text of every source, then the second of every source, and so on."""
        seen: Counter[str] = Counter()
        turns: dict[int, int] = {}
        for i in members:
            turns[i] = seen[self[i]]
            seen[self[i]] += 1
        return sorted(turns, key=lambda i: turns[i])
