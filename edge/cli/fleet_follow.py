"""`edge-fleet follow`: a channel holds what an alias of the MLflow registry names."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
import time
from typing import Annotated

from edge.cli.fleet_add import ReleaseArguments, put_registered
from edge.cli.fleet_arguments import open_repository, say, warn
from edge.errors import ConfigError, EdgeError, ModelError
from edge.settings import parsers
from edge.settings.options import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.tools.fleet.registry import Registered, Registry, Wanted
    from edge.tools.fleet.repository import Repository


class FollowArguments(ReleaseArguments, frozen=True, kw_only=True):
    model: Annotated[str, Flag("models:/NAME@ALIAS of the MLflow registry", metavar="MODEL", positional=True)]
    interval: Annotated[float, Flag("how often it asks", parsers.seconds, "S")] = 300.0
    once: Annotated[bool, Flag("ask once and end, for cron: 0 where the channel holds what the alias names")] = False


def follow(args: FollowArguments) -> None:
    """Until Ctrl-C, or once. Raises ConfigError, ModelError, UnavailableError; OSError."""
    from edge.tools.fleet import registry

    try:
        wanted = registry.parse(args.model)
    except ValueError as exc:
        raise ConfigError(f"{args.model}: {exc}") from exc
    if not wanted.alias:
        raise ConfigError(f"{args.model}: a version never changes; edge-fleet add takes it, an alias can be followed")
    repository = open_repository(args)
    repository.require_keys(args.name or wanted.name)
    Follower(repository, registry.Mlflow(), wanted, args).run()


class Follower:
    """Asks the registry and changes the repository accordingly."""

    def __init__(self, repository: "Repository", registry: "Registry", wanted: "Wanted", args: FollowArguments) -> None:
        self._repository = repository
        self._registry = registry
        self._wanted = wanted
        self._args = args
        self._told = ""
        self._refused = ""

    def run(self) -> None:
        """In the loop a trouble is told once, and asked again; once, it is raised."""
        while not self._args.once:
            try:
                self.ask()
            except (EdgeError, OSError) as exc:
                self._say(f"{exc}; it is asked again in {self._args.interval:g} s", error=True)
            time.sleep(max(1.0, self._args.interval))
        self.ask()

    def ask(self) -> None:
        """Once. Raises ConfigError, ModelError, UnavailableError; OSError."""
        found = self._registry.find(self._wanted)
        model, channel = self._args.name or found.name, self._args.channel
        held, origins = self._repository.held(model, channel), self._repository.origins(model)
        release = next((r for r in held.releases if origins.get(r.file, {}).get("registry") == found.uri), None)
        if release is not None:
            self._go_back(model, found, release.number)
        elif found.version in held.withdrawn:
            self._say(
                f"{model} {found.version} was withdrawn from {channel}: it stays out until the alias names another "
                "version, or edge-fleet add puts it in again"
            )
        elif found.version != self._refused:
            self._put(found)

    def _put(self, found: "Registered") -> None:
        try:
            put_registered(self._repository, self._registry, found, self._args)
        except ModelError:
            self._refused = found.version  # it is not fetched again and again; another version is another try
            raise

    def _go_back(self, model: str, found: "Registered", number: int) -> None:
        """The alias names an older version than the channel's newest: those that came later go."""
        channel, origins = self._args.channel, self._repository.origins(model)
        registered = found.uri.rpartition("/")[0]
        later = [
            r
            for r in self._repository.held(model, channel).releases
            if r.number > number and origins.get(r.file, {}).get("registry", "").rpartition("/")[0] == registered
        ]
        for release in later:
            self._repository.withdraw(model, channel, release.version, for_good=False)
            say(f"{model} {release.version} is no longer in {channel}: the alias names {found.version} again")
        if not later:
            self._say(f"{model} {found.version} is in {channel}; nothing to do")

    def _say(self, text: str, *, error: bool = False) -> None:
        """Once as long as it is the same."""
        if text != self._told:
            self._told = text
            (warn if error else say)(text)
