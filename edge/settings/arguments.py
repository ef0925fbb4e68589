"""The command line of every program: flags from a struct's options, one kind of error, one "did you mean"."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import msgspec
from msgspec.structs import replace

from edge.errors import ConfigError, nearest
from edge.settings import options
from edge.settings.options import UNSET, Arguments, Option


class Program(msgspec.Struct, frozen=True):
    """What `--help` and `--version` say of a command.

    Where `common` names flags `--help` is short: these, and `examples` as they are typed, with what each does;
    `--help-all` lists all. `commands` are listed with what each is for.
    """

    name: str
    description: str
    version: str
    epilog: str = ""
    examples: Sequence[tuple[str, str]] = ()
    common: tuple[str, ...] = ()
    version_flag: str = "--version"
    commands: Sequence[tuple[str, str]] = ()
    plugins: Callable[[str], str] = lambda group: ""
    """What is registered in a group of entry points, as a user says it; asked for by `--help` alone."""


class _Parser(argparse.ArgumentParser):
    """Its texts are written where help is asked for: as wide as the terminal is."""

    program: Program
    short: bool
    actions: Sequence[tuple[argparse.Action, Option]]

    def format_help(self) -> str:
        from edge.settings.help_text import Page  # most commands are not asked for help

        page, program = Page(), self.program
        self.formatter_class = page.formatter
        if not self.short:
            self.usage = page.usage(program.name, [option for _, option in self.actions]).replace("%", "%%")
        texts = [page.prose(program.description)]
        if program.commands:
            texts.append(page.commands(program.commands))
        if self.short and program.examples:
            texts.append(page.examples(program.examples))
        self.description = "\n\n".join(texts)
        self.epilog = page.prose(program.epilog)
        for action, option in self.actions:
            text = _line(option)
            if option.flag.plugins:
                text = text.replace("...", program.plugins(option.flag.plugins) or "...")
            action.help = page.help(text).replace("%", "%%")
            if not option.switch:
                action.metavar = page.metavar(", ".join(action.option_strings), option.metavar)
        text = super().format_help()
        for title in {option.title for _, option in self.actions}:
            text = text.replace(f"\n{title}:\n", "\n" + page.prose(f"{title}:") + "\n")
        return text

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


class _QuickFormatter(argparse.HelpFormatter):
    """While flags are added: the usual one imports shutil for the width."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)


def read(struct: type[Arguments], program: Program, argv: Sequence[str]) -> Arguments:
    """The arguments of a command. Raises ConfigError that names the flag, the value seen and the way out."""
    return _built(struct, parse(struct, program, argv))


def split(struct: type[Arguments], program: Program, argv: Sequence[str]) -> tuple[Arguments, Sequence[str]]:
    """As `read`, and the arguments that are none of the struct's."""
    values, others = _parse(struct, program, argv)
    return _built(struct, values), others


def parse(struct: type[msgspec.Struct], program: Program, argv: Sequence[str]) -> Mapping[str, object]:
    """What the arguments say, as text, True for a switch, or a list, by the option's key. Raises ConfigError."""
    try:
        found, words = _parse(struct, program, argv)
    except ConfigError:
        # A misspelt flag is the reason for another one that seems to be missing.
        _refuse_unknown(struct, program, [word for word in argv if word.startswith("--") and word != "--"])
        raise
    values = dict(found)
    others = _lone_word(struct, values, words)
    _refuse_swallowed(struct, program, values)
    taken = f"; only the model ({words[0]}) goes without a flag" if len(others) < len(words) else ""
    _refuse_unknown(struct, program, [word for word in others if word.startswith("-")])
    if others:
        raise ConfigError(f"unknown argument {others[0]}{taken} ({program.name} --help lists them)")
    return values


def _refuse_swallowed(struct: type[msgspec.Struct], program: Program, said: Mapping[str, object]) -> None:
    """Raises ConfigError where a flag that may stand without a value took the lone word behind it for one."""
    word = next((option for option in options.of(struct) if option.flag.word), None)
    if word is None or word.key in said:
        return
    for option in options.of(struct):
        if option.flag.alone is not None and option.key in said:
            text = str(said[option.key])
            try:
                value(option, shown(option), text)
            except ConfigError as exc:
                way_out = f"{program.name} {text} {shown(option)}"
                raise ConfigError(f"{exc}; if it is the {word.name}, put it first: {way_out}") from exc


def _refuse_unknown(struct: type[msgspec.Struct], program: Program, words: Sequence[str]) -> None:
    """Raises ConfigError for the first flag that there is not, with the one that was meant."""
    flags = [word for option in options.of(struct) if not option.flag.positional for word in option.words]
    known = {*flags, "--help", "--help-all", program.version_flag}
    for word in (word.partition("=")[0] for word in words):
        if word not in known:
            meant = nearest(word, [*flags, "--help", program.version_flag])
            raise ConfigError(f"unknown argument {word}{meant} ({program.name} --help lists them)")


def _built(struct: type[Arguments], values: Mapping[str, object]) -> Arguments:
    by_key = {option.key: option for option in options.of(struct)}
    return options.build(struct, {key: value(by_key[key], shown(by_key[key]), raw) for key, raw in values.items()})


def _parse(
    struct: type[msgspec.Struct], program: Program, argv: Sequence[str]
) -> tuple[Mapping[str, object], Sequence[str]]:
    if program.common:
        _help(struct, program, argv)
    known, unknown = _parser(program, options.of(struct)).parse_known_args(list(argv))
    return {key: value for key, value in vars(known).items() if value is not None}, unknown


def _help(struct: type[msgspec.Struct], program: Program, argv: Sequence[str]) -> None:
    """Ends the process where help is asked for: the usual flags, or all."""
    every = options.of(struct)
    if "--help-all" in argv:
        _parser(program, every).parse_args(["--help"])
    if not {"-h", "--help"} & set(argv):
        return
    usual = [option for option in every if option.name in program.common]
    epilog = f"{program.name} --help-all lists all {len(every)} flags. {program.epilog}".strip()
    usual.sort(key=lambda option: program.common.index(option.name))
    _parser(replace(program, epilog=epilog), usual, short=True).parse_args(["--help"])


def _lone_word(struct: type[msgspec.Struct], said: dict[str, object], words: Sequence[str]) -> Sequence[str]:
    """Takes a word that no flag claims for the option that is said so; returns the other words. Raises ConfigError."""
    option = next((option for option in options.of(struct) if option.flag.word), None)
    if option is None or not words or any(word.startswith("-") for word in words):
        return words
    if said.get(option.key, words[0]) != words[0]:
        raise ConfigError(f"{words[0]} and --{option.name} {said[option.key]}: say one of the two")
    said[option.key] = words[0]
    return words[1:]


def _parser(program: Program, among: Sequence[Option], *, short: bool = False) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program.name,
        usage=argparse.SUPPRESS if short else None,
        allow_abbrev=False,
        formatter_class=_QuickFormatter,
    )
    parser.program, parser.short = program, short
    groups: dict[str, Callable[..., argparse.Action]] = {"": parser.add_argument}
    actions: list[tuple[argparse.Action, Option]] = []
    for option in among:
        title = "" if short else option.title
        if title not in groups:
            groups[title] = parser.add_argument_group(title).add_argument
        actions.append((_add(groups[title], option), option))
    parser.actions = actions
    parser.add_argument(
        program.version_flag, action="version", version=f"{program.name} {program.version}", help="print it and end"
    )
    return parser


def _add(add: Callable[..., argparse.Action], option: Option) -> argparse.Action:
    flag = option.flag
    more: dict[str, object] = {"help": ""}
    if option.switch:
        more |= {"action": "store_true", "default": None}
    else:
        more["metavar"] = option.metavar
    required = option.default is msgspec.NODEFAULT
    if flag.positional:
        more["nargs"] = ("+" if required else "*") if flag.many else (None if required else "?")
        return add(option.key, **more)
    if flag.many:
        more["action"] = "append"
    if flag.alone is not None:
        more |= {"nargs": "?", "const": flag.alone}
    return add(*option.words, dest=option.key, required=required, **more)


def _line(option: Option) -> str:
    text, default = option.flag.help, option.default
    shown = option.flag.shown or str(default)
    return f"{text} [{shown}]" if default and default not in (UNSET, msgspec.NODEFAULT) else text


def shown(option: Option) -> str:
    """An option as messages name it."""
    return option.flag.metavar or option.name if option.flag.positional else f"--{option.name}"


def value(option: Option, where: str, raw: object) -> object:
    """The value from what was said: text, or what a TOML file holds. `where` names it. Raises ConfigError."""
    flag = option.flag
    if option.switch:
        return _switch(where, raw)
    if flag.many:
        texts = raw if isinstance(raw, list) else str(raw).split(flag.between)
        return tuple(_parsed(option, where, str(text)) for text in texts)
    if flag.alone is not None and str(raw).lower() in ("true", "false"):
        return _parsed(option, where, flag.alone) if str(raw).lower() == "true" else option.default
    if isinstance(raw, list):
        raw = ",".join(str(item) for item in raw)
    if isinstance(raw, (dict, bool)):
        seen = str(raw).lower() if isinstance(raw, bool) else raw
        raise ConfigError(f"{where} = {seen}: {option.metavar} belongs there ({flag.help})")
    return _parsed(option, where, str(raw))


def _parsed(option: Option, where: str, text: str) -> object:
    try:
        return option.flag.parse(text)
    except ValueError as exc:
        raise ConfigError(f"{where} {text}: {exc}") from exc


def _switch(where: str, raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return words[str(raw).lower()]
    except KeyError:
        raise ConfigError(f"{where} = {raw}: true or false belongs there") from None
