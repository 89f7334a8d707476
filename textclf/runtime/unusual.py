"""Marks texts that are not of the kind that a version was trained on, by their sequences of bytes.

The normalised text (lower case, single spaces) is UTF-8; each five consecutive bytes have a surprise, the negative log
of their smoothed probability in the training texts. A text is unusual if its mean surprise is above the limit for its
length (fitted in training/unusual_training.py). Counts of short sequences recognise a language; see W. B. Cavnar and
J. M. Trenkle, "N-Gram-Based Text Categorization", SDAIR 1994.

    engine/unusual.npz   surprises [buckets], lengths and limits [lengths], frequent [wordpieces], marks_wordless
"""

import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from textclf.errors import ModelStoreError
from textclf.files import atomic_file
from textclf.npz_files import UNREADABLE, read_array
from textclf.unusual_reasons import FAR_FROM_TRAINING, NO_WORDS, UNKNOWN_WORDS

UNUSUAL_FILE = "unusual.npz"
FORMAT = 1

BUCKETS = 2**18
GRAM = 5  # Bytes of a sequence.
# Surprises are stored as whole multiples of a tenth.
STEPS_PER_UNIT = 10
# Limits hardly change from this length on.
MAX_LENGTH = 4096
# Fewer sequences (a text of less than six bytes) tell nothing: `yay` is as rare in reviews as `lkj`.
MIN_SEQUENCES = 4
# The beginning of a text suffices, and bounds time and memory.
MAX_CHARS = 100_000
# Characters that are normalised at a time: unicodedata takes quadratic time to sort a long run of combining marks.
_SLICE_CHARS = 256
# Half of the wordpieces with letters are frequent in the training texts.
_MIN_FREQUENT = 0.2
_JUDGED_WORDPIECES = 1000
_MAX_BYTES = 2**24
# An odd constant of multiplicative hashing (Knuth, The Art of Computer Programming 3, section 6.4). The shift removes
# the last three of eight bytes that are read at a time.
_MIX = np.uint64((0x9E3779B97F4A7C15 << 8 * (8 - GRAM)) % 2**64)
_SHIFT = np.uint64(64 - BUCKETS.bit_length() + 1)
# Bytes of ASCII in lower case, white space as spaces.
_FOLDED = bytes(0x20 if bytes([byte]).isspace() else byte for byte in range(256)).lower()


class UnusualTexts:
    """Decides which texts are unusual for a version; several threads may call it.

    Args:
        surprises: surprise of each bucket of sequences in tenths, uint8 [BUCKETS]; empty if only texts without
            letters can be recognised.
        lengths: lengths of normalised texts in bytes, ascending, int64 [n].
        limits: largest usual mean surprise of texts of these lengths in tenths, float32 [n].
        frequent: ids of wordpieces that are frequent in the training texts, int32.
        marks_wordless: whether a text without letters is unusual.

    Raises:
        ModelStoreError: if the arrays do not fit together.
    """

    def __init__(
        self,
        surprises: NDArray[np.uint8],
        lengths: NDArray[np.int64],
        limits: NDArray[np.float32],
        frequent: NDArray[np.int32],
        marks_wordless: bool,
    ) -> None:
        fits = lengths.ndim == frequent.ndim == 1 and lengths.shape == limits.shape
        fits = fits and surprises.shape == (BUCKETS if len(lengths) else 0,)
        if not (fits and np.all(np.diff(lengths, prepend=0) > 0) and np.isfinite(limits).all()):
            raise ModelStoreError(
                f"expected a surprise for each of {BUCKETS} buckets and a limit for each ascending length, or none, "
                f"got shapes {list(surprises.shape)}, {list(lengths.shape)} and {list(limits.shape)}"
            )
        self.surprises = surprises
        self.lengths = lengths
        self.limits = limits
        self.frequent = frequent
        self.marks_wordless = marks_wordless
        self._frequent = frozenset(frequent.tolist())
        self._limits: list[float] = []
        if len(lengths):
            every = np.arange(1, MAX_LENGTH + 1)
            self._limits = np.interp(np.log(every), np.log(lengths), limits).tolist()

    def reason(self, text: str, wordpieces: Sequence[int]) -> str | None:
        """One of REASONS if the text is unusual, else None.

        Args:
            text: the text.
            wordpieces: its wordpiece ids, without [CLS] and [SEP].
        """
        if self.marks_wordless and not has_letters(text):
            return NO_WORDS
        if not self._limits:
            return None
        data = normalised(text)
        buckets = buckets_of(data)
        if len(buckets) < MIN_SEQUENCES:
            return None
        limit = self._limits[min(len(data), MAX_LENGTH) - 1]
        if int(self.surprises.take(buckets).sum()) <= limit * len(buckets):
            return None
        judged = wordpieces[:_JUDGED_WORDPIECES]
        frequent = sum(map(self._frequent.__contains__, judged))
        return FAR_FROM_TRAINING if frequent >= _MIN_FREQUENT * len(judged) else UNKNOWN_WORDS

    def save(self, folder: Path) -> None:
        """Write the file into `folder`; equal statistics give equal bytes."""
        with atomic_file(folder / UNUSUAL_FILE, "wb") as file:
            np.savez_compressed(
                file,
                format=FORMAT,
                surprises=self.surprises,
                lengths=self.lengths,
                limits=self.limits,
                frequent=self.frequent,
                marks_wordless=self.marks_wordless,
            )

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The statistics that save() wrote into `folder`; None in versions of earlier software, which have none.

        Raises:
            ModelStoreError: if the file is damaged or of another format.
        """
        path = folder / UNUSUAL_FILE
        if not path.exists():
            return None
        try:
            with zipfile.ZipFile(path) as file:
                if (found := int(read_array(file, "format", _MAX_BYTES))) != FORMAT:
                    raise ValueError(f"it is in format {found}, this software reads {FORMAT}")
                names = {"surprises": np.uint8, "lengths": np.int64, "limits": np.float32, "frequent": np.int32}
                arrays = {name: read_array(file, name, _MAX_BYTES) for name in names}
                if wrong := [name for name, dtype in names.items() if arrays[name].dtype != dtype]:
                    raise ValueError(f"{wrong[0]} of {arrays[wrong[0]].dtype}")
                return cls(**arrays, marks_wordless=bool(read_array(file, "marks_wordless", _MAX_BYTES)))
        except (*UNREADABLE, TypeError, ModelStoreError) as error:
            raise ModelStoreError.damaged(
                f"{path}: expected the statistics of usual texts ({error})", can_export=True
            ) from error


def has_letters(text: str) -> bool:
    """Whether the beginning of the text contains a letter of any script."""
    return any(map(str.isalpha, text[:MAX_CHARS]))


def normalised(text: str) -> bytes:
    """The beginning of the text in lower case, with a space around each word, as UTF-8."""
    text = text[:MAX_CHARS]
    if not text.isascii():
        text = _composed(text.lower())
    data = text.encode().translate(_FOLDED).strip()
    # Splitting takes longer than all the rest, and few texts need it.
    return b" %b " % (b" ".join(data.split()) if b"  " in data else data)


def _composed(text: str) -> str:
    """The text in NFC, made slice by slice; marks stay with their letter, except in very long runs."""
    slices, start = [], 0
    while start < len(text):
        end = start + _SLICE_CHARS
        last = min(end + _SLICE_CHARS, len(text))
        while end < last and unicodedata.combining(text[end]):
            end += 1
        slices.append(unicodedata.normalize("NFC", text[start:end]))
        start = end
    return "".join(slices)


def buckets_of(data: bytes) -> NDArray[np.int64]:
    """The bucket of each sequence of GRAM bytes: int64 [max(0, len(data) - GRAM + 1)]."""
    count = max(0, len(data) - GRAM + 1)
    # Eight bytes from each position on, read without a copy.
    sequences = np.ndarray((count,), "<u8", data + bytes(8 - GRAM), strides=(1,))
    hashes = sequences * _MIX
    hashes >>= _SHIFT
    return hashes.view(np.int64)
