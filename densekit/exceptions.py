"""Every exception and warning that densekit raises, each also of the matching built-in type."""

MAX_FOREIGN_TEXT = 300  # characters; some libraries put the data itself into an error


def shorten(error: object, n: int = MAX_FOREIGN_TEXT) -> str:
    """Return the text of another library's error in one line of limited length, without controls.

    Every message that quotes such an error takes it from here.
    """
    text = " ".join(str(error)[: 4 * n].split())
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return shown if len(shown) <= n else f"{shown[: n - 1]}…"


class DensekitError(Exception):
    """Base of all errors that densekit raises itself."""


class ParameterError(DensekitError, ValueError, TypeError):
    """A constructor parameter has a value that the estimator cannot work with."""


class ShapeError(DensekitError, ValueError):
    """A tensor has another shape than the transform or density was built for."""


class ContextError(DensekitError, ValueError):
    """A conditional density did not get its `y`, or got one that does not fit."""


class WeightError(DensekitError, ValueError):
    """Weights of rows are no numbers of zero or more, one a row, or too few are above zero."""


class SupportError(DensekitError, ValueError):
    """A declared support is malformed, or a training row lies outside it."""


class TableError(DensekitError, ValueError):
    """A table cannot be read or written: its name, its form or one of its cells is at fault."""


class OutputError(DensekitError, ValueError):
    """An output cannot be written, or is one of the inputs."""


class ColumnTypeError(TableError, TypeError):
    """Columns hold something else than numbers, such as text or dates."""


class DivergenceError(DensekitError, RuntimeError):
    """Training met non-finite losses again after every remedy was tried."""


class UnknownNameError(DensekitError, ValueError):
    """No plugin of the group has the name that was asked for."""


class DuplicateNameError(DensekitError, ValueError):
    """Two distributions claim the same name, so the name alone does not say which is meant."""


class PluginError(DensekitError, ImportError):
    """A plugin could not be imported; the original error is chained."""


class PluginTypeError(DensekitError, TypeError):
    """What a plugin registered does not fulfil the contract of its group."""


class MissingExtraError(DensekitError, ImportError):
    """An optional dependency is needed for what was asked."""


class ModelFileError(DensekitError, ValueError):
    """A file cannot be read as what it was given for; subclasses say why."""


class NotAModelFileError(ModelFileError):
    """The file is no file of densekit's, or one of another kind, such as a checkpoint."""


class NewerFormatError(ModelFileError):
    """A later densekit wrote the file, in a format that this one cannot read."""


class TruncatedFileError(ModelFileError):
    """The file ends before its header says that it does."""


class AlteredFileError(ModelFileError):
    """The file's content is not what was written, or contradicts itself."""


class MissingPluginError(ModelFileError, ImportError):
    """The file needs a plugin that is not installed here."""


class UnsavableError(DensekitError, TypeError):
    """A parameter or attribute cannot be written as data."""


class CheckpointError(DensekitError, ValueError):
    """A checkpoint belongs to another fit than the one that was asked to go on from it."""


class PictureError(DensekitError, ValueError):
    """A picture cannot be drawn of what was given, or written to the path that was asked for."""


class ContractError(DensekitError, AssertionError):
    """A check of the contract kit found a broken law."""


class CalibrationError(DensekitError, ValueError):
    """A level or share is no share, or calibration rows are too few for it."""


class ScorerError(DensekitError, ValueError, TypeError):
    """An estimator cannot serve as a density, or not for the score that was asked for."""


class ConditionWarning(UserWarning):
    """Whether a condition is a label or a number is in doubt, or a label is new."""


class RepeatedValuesWarning(UserWarning):
    """Values that repeat make log-densities meaningless; the message names their columns."""


class LabelWarning(UserWarning):
    """Labels of anomalies are such that common tools would read them the wrong way round."""


class CalibrationWarning(UserWarning):
    """Calibration rows are so few that strange rows can hardly be told from normal ones."""


class ConstantColumnWarning(UserWarning):
    """A column of the training data holds one value only."""


class InterruptedFitWarning(UserWarning):
    """Training was interrupted by the user; the best weights so far are kept."""


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written; training goes on without it."""


class SlowPathWarning(UserWarning):
    """The compiled loops of the fast path are not there, so that all takes its plain path."""


class PluginVersionWarning(UserWarning):
    """A model file was written with another version of a plugin than the one that is installed."""


class PrecisionWarning(UserWarning):
    """Numbers of a table have more digits than floating-point numbers keep."""
