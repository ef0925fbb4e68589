"""Every error of edge-run. Its base class is its fate.

`FatalError` ends the process with its `exit_code`; `UnavailableError` closes the part, backs off and
opens it again; `SampleError` skips one sample. Only `edge.runtime` and `edge.cli` decide; everyone else
raises. Anything that is not an `EdgeError` is a bug.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not typing's: this is imported before a Ctrl-C has an answer
if TYPE_CHECKING:
    from collections.abc import Iterable


class EdgeError(Exception):
    """A failure that edge-run knows how to name."""


class FatalError(EdgeError):
    """Stops the process; `exit_code` is the one of the public contract."""

    exit_code = 1


class ConfigError(FatalError):
    """A flag, variable, key or missing library that the user has to mend."""

    exit_code = 2


class ModelError(FatalError):
    """The model file cannot be used, or its golden samples do not come out."""

    exit_code = 3


class SpoolError(FatalError):
    """The state folder, the spool in it or an output cannot be used."""

    exit_code = 4


class SourceError(FatalError):
    """A finite source ended in an error: what came before it is delivered."""

    exit_code = 5


class UnavailableError(EdgeError):
    """Not there now: a broker, a camera, a full disk. Try again later."""


class SampleError(EdgeError):
    """This one sample cannot be used; the next one may."""


class EndOfStream(EdgeError):  # noqa: N818 - the name of a condition, as StopIteration is
    """A source has given its last sample."""


BITS_32 = "PyPI has none for 32 bits: install the 64-bit Raspberry Pi OS"
"""The way out where onnxruntime is missing on a 32-bit system."""


def needs(what: str, library: str, extra: str) -> ConfigError:
    """The error for an optional library that is not installed."""
    return ConfigError(f"{what} needs {library}: pip install 'edge-run[{extra}]'")


class Needing:
    """Around the import of an optional library: where it is not installed that is raised as `needs` says it."""

    def __init__(self, what: str, library: str, extra: str) -> None:
        self._error = needs(what, library, extra)

    def __enter__(self) -> None:
        """Nothing is needed before."""

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, ImportError):
            raise self._error from exc


def one_line(exc: BaseException, most: int | None = 300) -> str:
    """What an exception says, in one line of at most so many characters."""
    return " ".join(_text(exc).split())[:most] or type(exc).__name__


def first_line(exc: BaseException, most: int = 300) -> str:
    """The same where a stack trace or the like follows."""
    return _text(exc).strip().partition("\n")[0][:most] or type(exc).__name__


def printable(text: str) -> str:
    """For a terminal, of what others say: what it would obey, or what would end the line, stands there as `\\u001b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    # As in JSON, where it may stand in a string.
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _text(exc: BaseException) -> str:
    # onnxruntime quotes names from a file as they are, and Python cannot read damaged ones.
    return exc.object.decode("utf-8", "backslashreplace") if isinstance(exc, UnicodeDecodeError) else str(exc)


def reason(exc: Exception) -> str:
    """What the system says of a file, without the path, which the message has already."""
    said = exc.strerror if isinstance(exc, OSError) else None
    return said or ("not UTF-8" if isinstance(exc, UnicodeDecodeError) else str(exc))


def nearest(name: str, known: Iterable[str]) -> str:
    """ "; did you mean ...?", or nothing."""
    import difflib  # only where something was mistyped

    near = difflib.get_close_matches(name, tuple(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""
