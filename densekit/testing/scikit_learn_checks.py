"""Laws that scikit-learn has for every estimator."""

from __future__ import annotations

import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import estimator_checks

from densekit.cases import Case
from densekit.exceptions import ConstantColumnWarning, LabelWarning, RepeatedValuesWarning
from densekit.testing import tools

N_EPOCHS = 2  # of its many fits, none of which has to be a good one
# Checks that scikit-learn has, but does not call from check_estimator.
_MORE_OF_SCIKIT_LEARN = ["check_dataframe_column_names_consistency"]
_MORE_FOR_TRANSFORMERS = [
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]


def check_scikit_learn(case: Case) -> None:
    """All of check_estimator passes, nothing is expected to fail."""
    if tools.is_discrete(case):
        return  # scikit-learn's data is not discrete
    with warnings.catch_warnings():
        # Its data are few rows, some of them constant or of few values, and its labels are any.
        for category in (ConstantColumnWarning, RepeatedValuesWarning, LabelWarning):
            warnings.simplefilter("ignore", category)
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", estimator_checks.SkipTestWarning)
        estimator_checks.check_estimator(tools.build_shortened(case, N_EPOCHS))


def check_more_of_scikit_learn(case: Case) -> None:
    """The checks pass that check_estimator leaves out: column names, set_output."""
    if tools.is_discrete(case):
        return
    estimator = tools.build_shortened(case, N_EPOCHS)
    names = list(_MORE_OF_SCIKIT_LEARN)
    if hasattr(estimator, "transform"):
        names += _MORE_FOR_TRANSFORMERS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they mix arrays and frames on purpose
        for name in names:
            getattr(estimator_checks, name)(type(estimator).__name__, estimator)
