"""`edge-fleet add`: a model file, or a version of the registry, into a channel."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from msgspec import Struct

from edge.cli.fleet_arguments import Where, open_repository, parts, released, say, word
from edge.errors import ConfigError
from edge.settings import parsers
from edge.settings.options import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.tools.fleet.registry import Registered, Registry
    from edge.tools.fleet.repository import Repository


NOTES_MOST = 255
"""Characters, as many as a device tells."""


def _short(text: str) -> str:
    """What Home Assistant shows whole. Raises ValueError."""
    if len(text) > NOTES_MOST:
        raise ValueError(f"{len(text)} characters; {NOTES_MOST} at most are shown")
    return text


class ReleaseArguments(Where, frozen=True, kw_only=True):
    """What becomes of a model that is put into a channel."""

    name: Annotated[str | None, Flag("the model's name [its manifest's; the registry's]", word, "NAME")] = None
    channel: Annotated[str, Flag("the channel", word, "NAME")] = "stable"
    share: Annotated[
        int | None,
        Flag("the share of the devices that get it at once, as 5% [0%; as it is for what is there]", parts, "P%"),
    ] = None
    notes: Annotated[str, Flag("what is new, for people; up to 255 characters", _short, "TEXT")] = ""
    force: Annotated[bool, Flag("also without a manifest or golden samples, or with failed parity")] = False
    sample: Annotated[
        Path | None,
        Flag("rows by which edge-convert makes a file of a framework's model in the registry", parsers.path, "FILE"),
    ] = None
    trust_pickle: Annotated[bool, Flag("with --sample: open a pickle, which may run code")] = False


class AddArguments(ReleaseArguments, frozen=True, kw_only=True):
    file: Annotated[
        str, Flag("the model, or models:/NAME@ALIAS of the MLflow registry", metavar="FILE", positional=True)
    ]
    version: Annotated[str | None, Flag("its version [its manifest's; the registry's]", word, "V")] = None


class Added(Struct, frozen=True):
    """What `put` takes beside the file: the words, and where the file comes from."""

    args: ReleaseArguments
    version: str | None = None
    registered: "Registered | None" = None


def add(args: AddArguments) -> None:
    """Raises ConfigError, ModelError, UnavailableError; OSError."""
    repository = open_repository(args)
    from edge.tools.fleet import registry

    if not args.file.startswith(registry.SCHEME):
        if args.sample is not None or args.trust_pickle:
            raise ConfigError(
                f"--sample, --trust-pickle: {args.file} is a file already; they belong to {registry.SCHEME}"
            )
        put(repository, parsers.path(args.file), Added(args, args.version))
        return
    try:
        wanted = registry.parse(args.file)
    except ValueError as exc:
        raise ConfigError(f"{args.file}: {exc}") from exc
    mlflow = registry.Mlflow()
    put_registered(repository, mlflow, mlflow.find(wanted), args, args.version)


def put_registered(
    repository: "Repository",
    source: "Registry",
    found: "Registered",
    args: ReleaseArguments,
    version: str | None = None,
) -> None:
    """A version of the registry. Raises ConfigError, ModelError, UnavailableError; OSError."""
    from edge.tools.fleet import registry

    model = _called("--name", args.name or found.name)
    there = repository.file_from(model, found.uri)
    if there is not None:  # converted anew it would be another file
        put(repository, there, Added(args, version, found))
        return
    with TemporaryDirectory(prefix="edge-fleet-") as folder:
        conversion = registry.Conversion(args.sample, args.trust_pickle, args.force)
        file = registry.model_file(source, found, Path(folder), conversion)
        put(repository, file, Added(args, version, found))


def put(repository: "Repository", file: Path, added: Added) -> None:
    """A file that a fleet may get. Raises ConfigError, ModelError; OSError."""
    from edge.tools.fleet import accept  # brings the engine
    from edge.tools.fleet.repository import About

    args, found = added.args, added.registered
    manifest = accept.examined(file, force=args.force)
    model = _called("--name", args.name or (found.name if found is not None else manifest.name))
    version = _called("--version", added.version or (found.version if found is not None else manifest.version))
    before = repository.release_of(model, version, args.channel)
    about = About(args.notes, found.origin if found is not None else {})
    release = repository.add(file, model, version, args.channel, share=args.share, about=about)
    again = "; it was there already, and keeps its share" if before is not None and args.share is None else ""
    come = f"; from {found.uri}" if found is not None else ""
    say(released(model, args.channel, release) + again + come)
    if manifest.version != version:
        say(f"its results say version {manifest.version}, as its manifest does; the fleet's commands say {version}")


def _called(flag: str, text: str) -> str:
    """What the manifest or the registry says, if it can be part of a URL. Raises ConfigError."""
    try:
        return word(text)
    except ValueError as exc:
        raise ConfigError(f"the model is called {text!r}; say {flag}: {exc}") from exc
