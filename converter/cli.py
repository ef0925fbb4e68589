"""The command `edge-convert`."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

from msgspec import Struct

import edge
from converter.artifact import Artifact
from converter.compare.compare import compare
from converter.convert import convert
from converter.demo import examples
from converter.model_file import write_whole
from converter.options import Calibration, Choices, SampleOrder, Target
from converter.proof.parity import ParityError
from converter.report import report, terminal
from edge.cli import ending
from edge.compare import written
from edge.compare.report import text
from edge.errors import ConfigError, EdgeError, FatalError, one_line, printable
from edge.model import labels
from edge.settings import arguments, parsers
from edge.settings.arguments import Program
from edge.settings.options import Flag, Room
from edge.settings.parsers import one_of
from edge.settings.settings import ManifestSettings


class Arguments(Struct, frozen=True, kw_only=True):
    """What `edge-convert` may be told. How a field is declared: `edge.settings.options`."""

    source: Annotated[
        str, Flag("a model file or folder, or models:/name/1 (MLflow)", metavar="SOURCE", positional=True)
    ]
    output: Annotated[Path, Flag("OUT.onnx or OUT.tflite", parsers.path, "OUT", short="-o")]
    framework: Annotated[str | None, Flag("what the model comes from; default: told by its content")] = None
    name: Annotated[str | None, Flag("the model's name; default: the source's")] = None
    version: Annotated[str, Flag("the model's; default: the registry's, or 1")] = ""
    trust_pickle: Annotated[bool, Flag("open a pickle: it may run code; its imports are listed first")] = False
    sample: Annotated[str | None, Flag("rows (.csv .jsonl .npy .npz) or a folder of pictures", metavar="FILE")] = None
    sample_order: Annotated[
        SampleOrder, Flag("time where the sample's rows are in the order of time", one_of(get_args(SampleOrder)))
    ] = "any"
    no_reference: Annotated[bool, Flag("leave out of the file what the sample looked like (for edge-run --drift)")] = (
        False
    )
    missing: Annotated[
        float | None,
        Flag("the number that means a missing value: an XGBoost file does not say it", parsers.real),
    ] = None
    expect: Annotated[
        str | None,
        Flag("the true answers, for accuracy: a file, or a column of --sample", metavar="FILE|COLUMN"),
    ] = None
    quantize: Annotated[str, Flag("none, fp16, int8, dynamic, auto, or a plug-in's", metavar="NAME")] = "none"
    calibration: Annotated[Calibration, Flag("how int8 finds its ranges", one_of(get_args(Calibration)))] = "minmax"
    max_accuracy_drop: Annotated[
        float | None,
        Flag("the largest; int8 ONNX leaves nodes in float for it", parsers.real, "SHARE"),
    ] = None
    tolerance: Annotated[float | None, Flag("the largest difference that parity allows", parsers.real)] = None
    report: Annotated[Path | None, Flag("the figures as a file, or as a page", parsers.path, "FILE.json|FILE.html")] = (
        None
    )
    force: Annotated[bool, Flag("write a file that fails parity; the manifest records it")] = False
    compare: Annotated[bool, Flag("what a new model changes: --compare OLD NEW --sample FILE")] = False
    example: Annotated[
        str | None, Flag("alone: write a script that trains a small model and converts it", one_of(examples.EXTRAS))
    ] = None
    manifest: Annotated[ManifestSettings, Room("what the model takes and gives, where it does not say it")] = (
        ManifestSettings()
    )


class CompareArguments(Struct, frozen=True, kw_only=True):
    """What `edge-convert --compare` may be told."""

    compare: Annotated[bool, Flag("what a new model changes, row by row")]
    old: Annotated[Path, Flag("the .onnx or .tflite file that runs now", parsers.path, "OLD", positional=True)]
    new: Annotated[Path, Flag("the one that may take its place", parsers.path, "NEW", positional=True)]
    sample: Annotated[str, Flag("rows (.csv .jsonl .npy .npz) or a folder of pictures", metavar="FILE")]
    expect: Annotated[
        str | None,
        Flag("the true answers: a file, or a column of --sample", metavar="FILE|COLUMN"),
    ] = None
    by: Annotated[
        tuple[str, ...],
        Flag("a column to look at alone, whole; else every column is, the worst parts first",
             metavar="COLUMN", name="slice", many=True),
    ] = ()  # fmt: skip
    report: Annotated[
        Path | None, Flag("all of it, each row that changed too", parsers.path, "FILE.json|FILE.html")
    ] = None


class ExampleArguments(Struct, frozen=True, kw_only=True):
    """What stands beside `--example`: nothing else is asked for then."""

    example: Annotated[str, Flag("which framework", one_of(examples.EXTRAS))]


PROGRAM = Program(
    "edge-convert",
    "A trained model to one checked ONNX or TFLite file.",
    edge.__version__,
    examples=(
        ("edge-convert --example sklearn", "a script to begin with"),
        ("edge-convert digits.skops -o digits.onnx --sample rows.csv", "compared on your rows"),
        ("edge-convert model.keras -o model.tflite --sample pictures/ --quantize int8", "in whole numbers"),
        ("edge-convert models:/digits/1 -o digits.onnx", "out of MLflow"),
        ("edge-convert --compare old.onnx new.onnx --sample rows.csv", "what a new model changes"),
    ),
    common=("source", "output", "sample", "expect", "quantize", "labels", "name", "report", "trust-pickle", "example"),
    version_flag="--edge-version",  # --version is the model's
)


COMPARE = Program(
    "edge-convert --compare",
    "What a new model changes: agreement, wins and losses by class and slice.",
    edge.__version__,
    version_flag="--edge-version",
)
EXAMPLE = Program(PROGRAM.name, "A script that trains a small model and converts it.", PROGRAM.version)


def _target(output: Path) -> Target:
    targets: dict[str, Target] = {".onnx": "onnx", ".tflite": "tflite"}
    target = targets.get(output.suffix)
    if target is None:
        raise ConfigError(f"-o {output.name}: the name has to end in .onnx or .tflite")
    if not output.parent.is_dir():
        raise ConfigError(f"-o {output}: there is no folder {output.parent}; make it first")
    return target


def _choices(args: Arguments) -> Choices:
    model = args.manifest
    return Choices(
        framework=args.framework, name=args.name, version=args.version, task=model.task,
        labels=labels.named(model.labels) if model.labels is not None else (), quantize=args.quantize,
        tolerance=args.tolerance, trust_pickle=args.trust_pickle, force=args.force, input_size=model.input_size,
        mean=model.mean or (), std=model.std or (), layout=model.layout, color=model.color, resize=model.resize,
        calibration=args.calibration, max_accuracy_drop=args.max_accuracy_drop, missing=args.missing,
        no_reference=args.no_reference, sample_order=args.sample_order,
    )  # fmt: skip


def run(argv: Sequence[str] | None = None) -> None:
    """Converts, compares, or writes an example, as the arguments say. Raises EdgeError."""
    given = sys.argv[1:] if argv is None else argv
    if list(given) == ["--version"]:  # with a value it is the model's
        print(f"{PROGRAM.name} {PROGRAM.version}")
    elif any(word.partition("=")[0] == "--example" for word in given):
        asked = arguments.read(ExampleArguments, EXAMPLE, given)
        print("\n".join(examples.write(asked.example, Path.cwd())))
    elif "--compare" in given:
        _compare(arguments.read(CompareArguments, COMPARE, given))
    else:
        _convert(arguments.read(Arguments, PROGRAM, given))


def _convert(args: Arguments) -> None:
    output = args.output
    target, choices = _target(output), _choices(args)
    for doubt in labels.doubts(args.manifest.labels) if isinstance(args.manifest.labels, Path) else ():
        print(f"--labels {doubt}", file=sys.stderr)
    if args.report is not None:
        written.require_place(args.report)
    try:
        artifact = convert(args.source, target=target, sample=args.sample, expect=args.expect, **choices)
        artifact.save(output)
    except ParityError as exc:
        _show(exc.artifact)
        _report(args.report, exc.artifact)
        raise
    _show(artifact, str(output))
    _report(args.report, artifact, str(output))


def _report(path: Path | None, artifact: Artifact, output: str = "") -> None:
    if path is not None:
        terminal.WRITERS[path.suffix.lower()](report.of(artifact, output), path)


def _compare(args: CompareArguments) -> None:
    if args.report is not None:
        written.require_place(args.report)
    found = compare(args.old, args.new, sample=args.sample, expect=args.expect, by=args.by)
    print(text(found))
    if args.report is not None:
        write_whole(args.report, written.content(found, args.report))


def _show(artifact: Artifact, output: str = "") -> None:
    print(terminal.table(report.of(artifact, output)))


def process() -> None:
    """The command as a process of its own: what ends it before it is done leaves no half file."""
    ending.main(main, "edge-convert: interrupted; a file is written whole or not at all")


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns the exit code of the contract: 0, 2 usage or configuration, 3 model."""
    try:
        run(argv)
    except EdgeError as exc:
        print(printable(f"edge-convert: {one_line(exc, None)}"), file=sys.stderr)
        return exc.exit_code if isinstance(exc, FatalError) else 1
    return 0


if __name__ == "__main__":
    process()
