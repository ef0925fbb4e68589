"""Pictures by hand, as well as such a loop is written: `by_hand.py MODEL FOLDER OUT.csv`.

One thread, as `edge-score`; in OpenBLAS too, whose own take 0.07 s of processor at the start.
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import cv2
import numpy as np
import onnxruntime as ort

MEAN = np.array([123.675, 116.28, 103.53], dtype=np.float32)
STD = np.array([58.395, 57.12, 57.375], dtype=np.float32)


def main(path: str, folder: str, out: str) -> None:
    cv2.setNumThreads(1)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    one = session.get_inputs()[0]
    size = one.shape[-1]
    with Path(out).open("w", newline="") as file:
        writer = csv.writer(file)
        for picture in sorted(Path(folder).glob("*.jpg")):
            pixels = cv2.imread(str(picture), cv2.IMREAD_COLOR_RGB)
            small = cv2.resize(pixels, (size, size)).astype(np.float32)
            tensor = np.ascontiguousarray(((small - MEAN) / STD).transpose(2, 0, 1)[None])
            scores = session.run(None, {one.name: tensor})[0][0]
            best = int(scores.argmax())
            writer.writerow([picture, best, float(scores[best])])


if __name__ == "__main__":
    main(*sys.argv[1:])
