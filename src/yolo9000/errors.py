"""The errors that a user's input can cause, and the exit code that each one ends a command with.

Every message is one line and says what must hold, what came, and where, for example
``yolov2.weights: layer 30 (convolutional) needs 1,740,500 bytes, 12 are left``.
"""

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_SOME_INPUTS_FAILED = 3
EXIT_DATA_INVALID = 4
EXIT_INTERRUPTED = 130


class YoloError(Exception):
    """Anything that the user can mend; the command line prints it in one line and exits with 2."""


class ConfigError(YoloError):
    """A setting, an option or a network description (``.cfg``) that cannot be used."""


class DataError(YoloError):
    """A picture, a video, a label file or a data set that cannot be read."""


class WeightsError(YoloError):
    """A weights file that does not fit the network, or holds numbers that are not finite."""


class TreeError(YoloError):
    """A label tree that is not a tree, or is not written as the format asks."""


class EngineError(YoloError):
    """An engine that is not installed, or cannot do what was asked of it."""


class TrainingError(YoloError):
    """A training that cannot begin, go on, or be resumed."""
