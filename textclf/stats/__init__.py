"""Metrics, calibration and tests of hypotheses as pure functions of arrays.

No files, no clock, no randomness that is not passed in; each formula names its source.
scipy.stats is imported inside functions: it takes a second, and `check --help` must not wait for it.
May import numpy, scipy, scikit-learn, the base modules and textclf.drift; no other package.
"""
