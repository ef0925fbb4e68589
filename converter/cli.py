"""The command `edge-convert`."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, get_args

import edge
from converter.artifact import Artifact
from converter.convert import convert
from converter.errors import SampleFileError
from converter.options import Choices, Target, pixels
from converter.proof.parity import ParityError
from converter.report import report, terminal
from edge.errors import ConfigError, EdgeError, FatalError
from edge.model.manifest import Task


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see edge-convert --help")


def _parser() -> _Parser:
    p = _Parser(
        prog="edge-convert", allow_abbrev=False, description="A trained model to one checked ONNX or TFLite file."
    )
    p.add_argument("source", metavar="SOURCE", help="a model file or folder, or models:/name/1 (MLflow)")
    p.add_argument("-o", "--output", required=True, metavar="OUT", help="OUT.onnx or OUT.tflite")
    p.add_argument("--framework", help="what the model comes from; default: told by its content")
    p.add_argument("--sample", metavar="FILE", help="rows (.csv .jsonl .npy .npz) or a folder of pictures")
    p.add_argument(
        "--expect", metavar="FILE|COLUMN", help="the true answers, for accuracy: a file, or a column of --sample"
    )
    p.add_argument("--labels", metavar="FILE|A,B,C", help="names of the classes, in order: one a line, or with commas")
    p.add_argument("--task", choices=get_args(Task))
    p.add_argument("--quantize", default="none", metavar="NAME", help="none, fp16, int8, dynamic, auto, or a plug-in's")
    p.add_argument(
        "--calibration", choices=("minmax", "entropy", "percentile"), default="minmax", help="how int8 finds its ranges"
    )
    p.add_argument(
        "--max-accuracy-drop", type=float, metavar="SHARE", help="the largest; int8 ONNX leaves nodes in float for it"
    )
    p.add_argument("--name", help="the model's name; default: the source's")
    p.add_argument("--version", dest="model_version", default="", help="the model's; default: the registry's, or 1")
    p.add_argument("--input-size", metavar="WxH", help="of pictures, in pixels")
    p.add_argument("--mean", metavar="R,G,B", help="subtracted from pixels; 0 to 255, or fractions where all are <= 1")
    p.add_argument("--std", metavar="R,G,B", help="pixels are divided by it; as --mean")
    p.add_argument("--layout", choices=("NHWC", "NCHW"))
    p.add_argument("--color", choices=("RGB", "BGR", "GRAY"))
    p.add_argument("--resize", choices=("stretch", "letterbox", "letterbox-topleft", "crop"))
    p.add_argument(
        "--trust-pickle", action="store_true", help="open a pickle: it may run code; its imports are listed first"
    )
    p.add_argument("--tolerance", type=float, help="the largest difference that parity allows")
    p.add_argument("--report", metavar="FILE.json|FILE.html", help="the figures as a file, or as a page")
    p.add_argument("--force", action="store_true", help="write a file that fails parity; the manifest records it")
    p.add_argument("--edge-version", action="version", version=f"edge-run {edge.__version__}", help="print and exit")
    return p


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    flags = [f for a in parser._actions for f in a.option_strings]
    args = list(sys.argv[1:] if argv is None else argv)
    for word in args:
        name = word.partition("=")[0]
        if name.startswith("--") and len(name) > 2 and name not in flags:
            near = difflib.get_close_matches(name, flags, n=1)
            raise ConfigError(
                f"there is no flag {name}{f'; did you mean {near[0]}?' if near else '; see edge-convert --help'}"
            )
    return parser.parse_args(args)


def _target(output: Path) -> Target:
    targets: dict[str, Target] = {".onnx": "onnx", ".tflite": "tflite"}
    target = targets.get(output.suffix)
    if target is None:
        raise ConfigError(f"-o {output.name}: the name has to end in .onnx or .tflite")
    if not output.parent.is_dir():
        raise ConfigError(f"-o {output}: there is no folder {output.parent}; make it first")
    return target


def _numbers(flag: str, text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(v) for v in text.split(",")) if text else ()
    except ValueError:
        raise ConfigError(f"{flag} {text}: numbers with commas between them belong here") from None


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, cross, height = text.lower().partition("x")
    sides = (width, height if cross else width)
    if not all(side.isdigit() and int(side) for side in sides):
        raise ConfigError(f"--input-size {text}: give it as WIDTHxHEIGHT, for instance 224x224")
    return int(sides[0]), int(sides[1])


def _labels(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    path = Path(text)
    if path.is_file():
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise SampleFileError(f"--labels {path.name}: {exc}") from exc
        return tuple(line.strip() for line in lines if line.strip())
    if "," not in text:
        raise SampleFileError(f"--labels {text}: there is no such file; or give the names with commas: cat,dog")
    return tuple(name.strip() for name in text.split(","))


def _choices(args: argparse.Namespace) -> Choices:
    return Choices(
        framework=args.framework, name=args.name, version=args.model_version, task=args.task,
        labels=_labels(args.labels), quantize=args.quantize, tolerance=args.tolerance,
        trust_pickle=args.trust_pickle, force=args.force, input_size=_size(args.input_size),
        mean=pixels(_numbers("--mean", args.mean)), std=pixels(_numbers("--std", args.std)), layout=args.layout,
        color=args.color, resize=args.resize, calibration=args.calibration, max_accuracy_drop=args.max_accuracy_drop,
    )  # fmt: skip


def run(argv: Sequence[str] | None = None) -> None:
    """Converts as the arguments say. Raises EdgeError."""
    args = _parse(argv)
    output = Path(args.output)
    target, choices = _target(output), _choices(args)
    write_report = terminal.writer(Path(args.report)) if args.report else None
    try:
        artifact = convert(args.source, target=target, sample=args.sample, expect=args.expect, **choices)
        artifact.save(output)
    except ParityError as exc:
        _show(exc.artifact)
        if write_report:
            write_report(report.of(exc.artifact), Path(args.report))
        raise
    _show(artifact, str(output))
    if write_report:
        write_report(report.of(artifact, str(output)), Path(args.report))


def _show(artifact: Artifact, output: str = "") -> None:
    print(terminal.table(report.of(artifact, output)))


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns the exit code of the contract: 0, 2 usage or configuration, 3 model."""
    try:
        run(argv)
    except EdgeError as exc:
        text = " ".join(str(exc).split())
        print(f"edge-convert: {text}", file=sys.stderr)
        return exc.exit_code if isinstance(exc, FatalError) else 1
    except KeyboardInterrupt:
        print("edge-convert: stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
