"""The converter's errors, under the same fates as the runtime's.

What the user can mend by another flag or sample is a ConfigError (exit 2); what lies in the model is a
ModelError (exit 3).
"""

from __future__ import annotations

from edge.errors import ConfigError, ModelError, one_line


class SampleFileError(ConfigError):
    """The file given as --sample, --expect or --labels cannot be used with this model."""


class RowsRefusedError(SampleFileError):
    """The original model itself does not take the rows."""


# What the frameworks raise for rows that they do not take; a bug of ours would be none of these.
REFUSES_ROWS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError)


def rows_refused(exc: BaseException) -> RowsRefusedError:
    """The error for rows that the original refuses, with its own words."""
    return RowsRefusedError(f"the original model refuses the sample: {one_line(exc)}")


class UnsafeError(ConfigError):
    """Opening the file would run code from it, and nobody said that it may."""


class OutputError(ConfigError):
    """The converted file cannot be written where it was asked for; nothing is left behind."""


class UnrecognisedError(ModelError):
    """No model that the converter knows, or a damaged one."""


class UnsupportedError(ModelError):
    """There is no honest way from this model to this target: refused, with the reason."""
