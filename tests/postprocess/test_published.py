"""Each decoder against the decoding that its own project publishes, written anew with loops and numpy.

Sources are named in each test; every tensor is random but for the scores, few of which are high.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from edge.data.sample import Frame, ModelInput
from edge.data.tensor import TensorSpec
from edge.describe.head import HeadInfo
from edge.model.manifest import Input, Manifest, Output
from edge.plugins import registry

WIDTH, HEIGHT = 96, 64


def decode(decoder: str, outputs, roles=None, *, layout="NCHW", frame=None, **fields):
    image = Input(name="in", kind="image", layout=layout)
    names = tuple(Output(name=n, role=(roles or {}).get(n, n)) for n in outputs)
    fields = {"task": "detect", "nms": 1.0, **fields}
    made = Manifest(name="m", decoder=decoder, inputs=(image,), outputs=names, **fields)
    specs = tuple(TensorSpec(n, a.dtype.name, a.shape) for n, a in outputs.items())
    shape = (1, 3, HEIGHT, WIDTH) if layout == "NCHW" else (1, HEIGHT, WIDTH, 3)
    given = ModelInput({"in": np.zeros(shape, np.float32)}, frame or Frame(WIDTH, HEIGHT))
    return registry.declared(HeadInfo, decoder).create(made, specs)(outputs, given)


def rng(seed: int = 0):
    return np.random.default_rng(seed)


def same(found, expected) -> None:
    """`expected`: class, score, box, in any order; boxes are clipped to the frame as results are."""
    limit = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    wanted = [(c, s, np.clip(b, 0, limit)) for c, s, b in expected]
    wanted = [w for w in wanted if w[2][2] > w[2][0] and w[2][3] > w[2][1]]
    assert len(found) == len(wanted) > 0
    for a, b in zip(sorted(found, key=lambda d: -d.score), sorted(wanted, key=lambda w: -w[1]), strict=True):
        assert a.index == b[0]
        assert a.score == pytest.approx(b[1], abs=1e-5)
        assert a.box == pytest.approx(tuple(b[2]), abs=0.02)


def grid(stride: int):
    return [(x, y) for y in range(math.ceil(HEIGHT / stride)) for x in range(math.ceil(WIDTH / stride))]


@pytest.mark.parametrize(
    ("strides", "offset"), [((8, 16, 32, 64), 0.0), ((8, 16, 32), 0.5)], ids=["NanoDet-Plus", "NanoDet"]
)
def test_nanodet(strides, offset):
    # nanodet/model/head/nanodet_plus_head.py get_bboxes: softmax over the bins, times 0..7, times the stride.
    rows = sum(len(grid(s)) for s in strides)
    values = rng().normal(0, 1, (1, rows, 5 + 32)).astype(np.float32)
    values[..., :5] = rng().uniform(0, 0.2, (1, rows, 5))
    expected = []
    lit = {3: 2, 40: 0, rows - 1: 4}
    row = 0
    for stride in strides:
        for x, y in grid(stride):
            if row in lit:
                values[0, row, lit[row]] = 0.9 - row / 1000
                far = []
                for side in range(4):
                    bins = values[0, row, 5 + 8 * side : 13 + 8 * side].astype(np.float64)
                    chances = np.exp(bins) / np.exp(bins).sum()
                    far.append(sum(i * p for i, p in enumerate(chances)) * stride)
                cx, cy = (x + offset) * stride, (y + offset) * stride
                box = np.array([cx - far[0], cy - far[1], cx + far[2], cy + far[3]])
                expected.append((lit[row], values[0, row, lit[row]], box))
            row += 1
    options = {"strides": list(strides), "offset": offset}
    same(decode("nanodet", {"rows": values}, decoder_options=options), expected)


def test_yunet():
    # OpenCV, modules/objdetect/src/face_detect.cpp, postProcess.
    outputs, expected, points = {}, [], {}
    for stride in (8, 16, 32):
        cells = grid(stride)
        for kind, columns in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{kind}_{stride}"] = rng(stride).uniform(0, 0.5, (1, len(cells), columns)).astype(np.float32)
        at = len(cells) // 2
        x, y = cells[at]
        outputs[f"cls_{stride}"][0, at], outputs[f"obj_{stride}"][0, at] = 0.9, 1.2  # clamped to 1
        dx, dy, w, h = outputs[f"bbox_{stride}"][0, at]
        cx, cy, width, height = (x + dx) * stride, (y + dy) * stride, math.exp(w) * stride, math.exp(h) * stride
        score = math.sqrt(0.9 * 1.0)
        expected.append((0, score, np.array([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2])))
        outputs[f"cls_{stride}"][0, at] -= stride / 1000
        expected[-1] = (0, math.sqrt((0.9 - stride / 1000) * 1.0), expected[-1][2])
        offsets = outputs[f"kps_{stride}"][0, at]
        points[stride] = [((offsets[2 * i] + x) * stride, (offsets[2 * i + 1] + y) * stride) for i in range(5)]
    found = decode("yunet", outputs, labels=("face",))
    same(found, expected)
    first = [(x, y) for x, y, _ in found[0].keypoints]
    limited = [(min(x, WIDTH), min(y, HEIGHT)) for x, y in points[8]]
    assert np.array(first) == pytest.approx(np.array(limited), abs=0.01)


def test_yunet_of_2022():
    # opencv_zoo, models/face_detection_yunet/yunet.py of 2022, _priorGen and _decode: variances 0.1 and 0.2.
    sizes = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}
    half = (int(int((WIDTH + 1) / 2) / 2), int(int((HEIGHT + 1) / 2) / 2))
    priors = []
    for stride, sides in sizes.items():
        half = (int(half[0] / 2), int(half[1] / 2))
        for y in range(half[1]):
            for x in range(half[0]):
                priors += [((x + 0.5) * stride / WIDTH, (y + 0.5) * stride / HEIGHT, side) for side in sides]
    loc = rng(1).normal(0, 1, (len(priors), 14)).astype(np.float32)
    conf = np.full((len(priors), 2), 0.1, np.float32)
    iou = np.full((len(priors), 1), 1.3, np.float32)  # clamped to 1
    expected, points = [], []
    for row in (40, 200, len(priors) - 1):
        conf[row, 1] = 0.9 - row / 2000
        x, y, side = priors[row]
        w, h = side / WIDTH, side / HEIGHT
        cx, cy = x + loc[row, 0] * 0.1 * w, y + loc[row, 1] * 0.1 * h
        width, height = w * math.exp(loc[row, 2] * 0.1), h * math.exp(loc[row, 3] * 0.2)
        expected.append((0, math.sqrt(0.9 - row / 2000), cxcywh((cx, cy, width, height))))
        points.append([((x + loc[row, i] * 0.1 * w) * WIDTH, (y + loc[row, i + 1] * 0.1 * h) * HEIGHT)
                       for i in range(4, 14, 2)])  # fmt: skip
    found = decode("yunet", {"loc": loc, "conf": conf, "iou": iou}, decoder_options={"priors": True})
    same(found, expected)
    limited = np.clip(points[0], 0, [WIDTH, HEIGHT])
    assert np.array([p[:2] for p in found[0].keypoints]) == pytest.approx(limited, abs=0.01)


def test_scrfd_with_one_anchor():
    # insightface, scrfd.py, _init_vars: ten outputs have five strides and one anchor a cell.
    outputs, expected = {}, []
    for stride in (8, 16, 32, 64, 128):
        count = len(grid(stride))
        outputs[f"score_{stride}"] = np.full((count, 1), 0.1, np.float32)
        outputs[f"bbox_{stride}"] = rng(stride).uniform(0, 0.4, (count, 4)).astype(np.float32)
        at = count // 2
        x, y = grid(stride)[at]
        outputs[f"score_{stride}"][at] = 0.9 - stride / 1000
        left, top, right, bottom = outputs[f"bbox_{stride}"][at] * stride
        box = [x * stride - left, y * stride - top, x * stride + right, y * stride + bottom]
        expected.append((0, 0.9 - stride / 1000, np.array(box)))
    same(decode("scrfd", outputs, decoder_options={"anchors": 1}), expected)


@pytest.mark.parametrize("batched", [True, False])
def test_scrfd(batched):
    # insightface, detection/scrfd/tools/scrfd.py, forward: distances and offsets times the stride, two anchors a cell.
    outputs, expected = {}, []
    for stride in (8, 16, 32):
        count = 2 * len(grid(stride))
        for kind, columns in (("score", 1), ("bbox", 4), ("kps", 10)):
            shape = (1, count, columns) if batched else (count, columns)
            outputs[f"{kind}_{stride}"] = rng(stride + columns).uniform(0, 0.4, shape).astype(np.float32)
        at = count // 2 + 1
        x, y = grid(stride)[at // 2]
        outputs[f"score_{stride}"].reshape(-1, 1)[at] = 0.9 - stride / 1000
        left, top, right, bottom = outputs[f"bbox_{stride}"].reshape(-1, 4)[at] * stride
        cx, cy = x * stride, y * stride
        expected.append((0, 0.9 - stride / 1000, np.array([cx - left, cy - top, cx + right, cy + bottom])))
        if stride == 8:
            offsets = outputs["kps_8"].reshape(-1, 10)[at] * 8
            points = [(cx + offsets[2 * i], cy + offsets[2 * i + 1], 1) for i in range(5)]
    found = decode("scrfd", outputs)
    same(found, expected)
    assert np.array(found[0].keypoints) == pytest.approx(np.array(points), abs=0.01)


def cxcywh(box) -> np.ndarray:
    cx, cy, w, h = box
    return np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]) * [WIDTH, HEIGHT, WIDTH, HEIGHT]


def test_detr_and_yolos():
    # transformers, DetrImageProcessor.post_process_object_detection: softmax, the last column is no object.
    logits = rng(1).normal(0, 1, (1, 20, 6)).astype(np.float32)
    logits[..., -1] += 6
    logits[0, 3, 2], logits[0, 11, 0], logits[0, 12, -1] = 14, 13, 20
    places = rng(2).uniform(0.2, 0.6, (1, 20, 4)).astype(np.float32)
    expected = []
    for query in range(20):
        chances = np.exp(logits[0, query].astype(np.float64))
        chances /= chances.sum()
        best = int(chances[:-1].argmax())
        if chances[best] > 0.5:
            expected.append((best, chances[best], cxcywh(places[0, query])))
    outputs = {"scores": logits, "boxes": places}
    same(decode("detr", outputs, nms=None, decoder_options={"no_object": True}), expected)


def test_rt_detr_d_fine_deim_and_rf_detr():
    # RT-DETR, src/zoo/rtdetr/rtdetr_postprocessor.py: sigmoid, the best pairs of query and class.
    logits = rng(1).normal(-4, 1, (1, 20, 5)).astype(np.float32)
    logits[0, 3, 2], logits[0, 3, 1], logits[0, 11, 0] = 3, 1, 2  # one query may give two classes
    places = rng(2).uniform(0.2, 0.6, (1, 20, 4)).astype(np.float32)
    chances = 1 / (1 + np.exp(-logits[0].astype(np.float64)))
    best = np.argsort(-chances.ravel())[:300]
    expected = [(int(i % 5), chances.ravel()[i], cxcywh(places[0, i // 5])) for i in best if chances.ravel()[i] >= 0.5]
    assert len(expected) == 3
    same(decode("detr", {"scores": logits, "boxes": places}, nms=None), expected)


def test_rf_detr_with_a_column_for_nothing():
    # rfdetr, export/_topk.py and _class_layout.py: a sigmoid each, the last column left out, the Q best pairs.
    logits = rng(1).normal(-1, 2, (1, 20, 4)).astype(np.float32)
    logits[..., -1] = 9
    places = rng(2).uniform(0.2, 0.6, (1, 20, 4)).astype(np.float32)
    chances = 1 / (1 + np.exp(-logits[0, :, :3].astype(np.float64)))
    best = np.argsort(-chances.ravel())[:20]
    expected = [(int(i % 3), chances.ravel()[i], cxcywh(places[0, i // 3])) for i in best if chances.ravel()[i] > 0.3]
    found = decode("detr", {"scores": logits, "boxes": places}, nms=None, threshold=0.3, decoder_options={"spare": 1})
    assert int((chances > 0.3).sum()) > len(found)
    same(found, expected)


def test_rt_detr_of_ultralytics():
    # ultralytics, models/rtdetr/predict.py, postprocess: centre and size as shares, score, class.
    rows = rng(1).uniform(0.2, 0.5, (1, 30, 6)).astype(np.float32)
    rows[..., 4] = np.linspace(0, 1, 30)
    rows[..., 5] = np.arange(30) % 3
    expected = [(int(r[5]), r[4], cxcywh(r[:4])) for r in rows[0] if r[4] >= 0.25]
    options = {"form": "end-to-end-centre", "normalized": True}
    same(decode("yolo", {"rows": rows}, nms=None, decoder_options=options), expected)


def test_mmdetection():
    # mmdeploy, codebase/mmdet/deploy/object_detection_model.py: dets are corners and score, labels beside them.
    dets = rng().uniform(0, 0.2, (1, 20, 5)).astype(np.float32)
    dets[0, :3] = [(4, 5, 30, 40, 0.9), (10, 12, 50, 60, 0.8), (1, 2, 20, 20, 0.31)]
    labels = np.arange(20, dtype=np.int64)[None] % 7
    expected = [(int(labels[0, i]), dets[0, i, 4], dets[0, i, :4]) for i in range(3)]
    found = decode("mmdetection", {"d": dets, "l": labels}, {"d": "boxes", "l": "classes"}, nms=None)
    same(found, expected)


def cubes(grid_values, threshold=0.5):
    """Edge Impulse, classifier/ei_fill_result_struct.h, ei_handle_cube and ei_cube_check_overlap."""
    found = []
    height, width, channels = grid_values.shape
    for y in range(height):
        for x in range(width):
            for label in range(1, channels):
                value = grid_values[y, x, label]
                if value < threshold:
                    continue
                for cube in found:
                    apart = cube["x"] + cube["w"] < x or cube["y"] + cube["h"] < y
                    if cube["label"] != label or apart or cube["x"] > x + 1 or cube["y"] > y + 1:
                        continue
                    if x < cube["x"]:
                        cube["w"] += cube["x"] - x
                        cube["x"] = x
                    if y < cube["y"]:
                        cube["h"] += cube["y"] - y
                        cube["y"] = y
                    cube["w"] = max(cube["w"], x + 1 - cube["x"])
                    cube["h"] = max(cube["h"], y + 1 - cube["y"])
                    cube["score"] = max(cube["score"], value)
                    break
                else:
                    found.append({"x": x, "y": y, "w": 1, "h": 1, "score": value, "label": label})
    return found


@pytest.mark.parametrize("seed", range(5))
def test_fomo(seed):
    values = rng(seed).uniform(0, 0.49, (1, HEIGHT // 8, WIDTH // 8, 3)).astype(np.float32)
    lit = rng(seed).integers(0, 8, (9, 2))
    for i, (y, x) in enumerate(lit):
        values[0, y, x, 1 + i % 2] = 0.6 + i / 50
    expected = [
        (c["label"], c["score"], 8 * np.array([c["x"], c["y"], c["x"] + c["w"], c["y"] + c["h"]]))
        for c in cubes(values[0])
    ]
    same(decode("fomo", {"grid": values}, layout="NHWC", nms=None), expected)


def oriented(columns: int = 30):
    """Ultralytics' OBB head [1, 4 + C + 1, N] with three boxes."""
    values = np.zeros((1, 4 + 2 + 1, columns), np.float32)
    values[0, :, 3] = (40, 30, 30, 12, 0.1, 0.9, 0.5)
    values[0, :, 9] = (42, 31, 30, 12, 0.1, 0.8, 0.55)  # nearly the same, the same class
    values[0, :, 12] = (40, 30, 30, 12, 0.7, 0.1, 0.5)  # the same place, another class
    return values


def probiou(a, b, eps=1e-7):
    """ultralytics/utils/metrics.py, probiou: Hellinger distance of two Gaussians."""

    def covariance(box):
        _, _, w, h, angle = box
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return turn @ np.diag([w * w / 12, h * h / 12]) @ turn.T

    one, two = covariance(a), covariance(b)
    mean = (one + two) / 2
    apart = np.array([b[0] - a[0], b[1] - a[1]])
    distance = apart @ np.linalg.inv(mean) @ apart / 8
    distance += 0.5 * math.log(np.linalg.det(mean) / math.sqrt(np.linalg.det(one) * np.linalg.det(two)))
    return 1 - math.sqrt(1 - math.exp(-max(distance, eps)))


def test_oriented_boxes_overlap_as_gaussians_do():
    from edge.postprocess.detect import obb

    boxes = rng(3).uniform(5, 30, (40, 5))
    boxes[:, 4] = rng(4).uniform(-0.7, 2.3, 40)
    found = obb.overlap(boxes[0], boxes[1:])
    assert found == pytest.approx([probiou(boxes[0], b) for b in boxes[1:]], abs=2e-3)


def test_oriented_boxes():
    found = decode("obb", {"rows": oriented()}, nms=0.45)
    assert [(d.index, round(d.score, 2)) for d in found] == [(1, 0.9), (0, 0.7)]
    corners = cv2.boxPoints(((40, 30), (30, 12), math.degrees(0.5)))
    assert np.array(sorted(found[0].corners)) == pytest.approx(np.array(sorted(corners.tolist())), abs=0.02)
    assert found[0].angle == pytest.approx(0.5, abs=1e-3)
    assert found[0].box == pytest.approx((*corners.min(axis=0), *corners.max(axis=0)), abs=0.02)


def test_an_oriented_box_goes_where_a_better_one_overlaps_it_though_that_one_goes_too():
    # ultralytics/utils/nms.py, fast_nms: the upper triangle of all overlaps, not one after the other.
    rows = np.zeros((1, 4 + 1 + 1, 30), np.float32)
    for at, (x, score) in enumerate([(20, 0.9), (24, 0.8), (28, 0.7), (60, 0.6)]):
        rows[0, :, at] = (x, 30, 20, 20, score, 0)
    first, second, third = ((x, 30, 20, 20, 0) for x in (20, 24, 28))
    limit = (probiou(first, second) + probiou(first, third)) / 2
    found = decode("obb", {"rows": rows}, nms=limit)
    assert [round(d.score, 2) for d in found] == [0.9, 0.6]


def test_oriented_boxes_turn_with_a_stretched_picture():
    (found, *_) = decode("obb", {"rows": oriented()}, frame=Frame(2 * WIDTH, HEIGHT, 0.5, 1.0))
    assert found.angle == pytest.approx(math.atan2(math.sin(0.5), 2 * math.cos(0.5)), abs=1e-3)


def test_masks_of_objects():
    # ultralytics/utils/ops.py, process_mask: coefficients @ prototypes, cropped, upsampled, above 0.
    size = (HEIGHT // 4, WIDTH // 4)
    prototypes = cv2.resize(rng(5).normal(0, 1, (6, 8, 4)).astype(np.float32), size[::-1]).transpose(2, 0, 1)[None]
    rows = np.zeros((1, 4 + 1 + 4, 30), np.float32)
    rows[0, :, 7] = (50, 30, 60, 40, 0.9, 1.0, -0.5, 0.3, 0.8)
    (found,) = decode(
        "yolo", {"y": rows, "p": prototypes}, {"y": "rows", "p": "prototypes"}, decoder_options={"extras": 4}
    )
    mask = np.tensordot(rows[0, 5:, 7], prototypes[0], axes=1)
    x1, y1, x2, y2 = (v / 4 for v in (20, 10, 80, 50))
    for y in range(size[0]):
        for x in range(size[1]):
            if not (x1 <= x < x2 and y1 <= y < y2):
                mask[y, x] = 0
    whole = cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) > 0
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(drawn, [np.rint(np.array(p)).astype(np.int32) for p in found.polygons], 1)
    both, either = (drawn.astype(bool) & whole).sum(), (drawn.astype(bool) | whole).sum()
    assert both / either > 0.97


def test_heatmaps():
    # HRNet, lib/core/inference.py, get_max_preds and get_final_preds.
    maps = rng(6).uniform(0, 0.3, (1, 5, HEIGHT // 4, WIDTH // 4)).astype(np.float32)
    peaks = [(4, 3), (20, 10), (0, 0), (23, 15), (12, 8)]
    expected = []
    for joint, (x, y) in enumerate(peaks):
        maps[0, joint, y, x] = 0.5 + joint / 10
        px, py = float(x), float(y)
        if 0 < x < WIDTH // 4 - 1 and 0 < y < HEIGHT // 4 - 1:
            px += 0.25 * np.sign(maps[0, joint, y, x + 1] - maps[0, joint, y, x - 1])
            py += 0.25 * np.sign(maps[0, joint, y + 1, x] - maps[0, joint, y - 1, x])
        expected.append((px * 4, py * 4, 0.5 + joint / 10))
    (body,) = decode("heatmaps", {"heatmaps": maps}, task="keypoints", nms=None)
    assert np.array(body.keypoints) == pytest.approx(np.array(expected), abs=0.01)
    assert body.score == pytest.approx(np.mean([e[2] for e in expected]), abs=1e-4)


def test_simcc():
    # mmpose, codecs/utils/post_processing.py, get_simcc_maximum: the lesser of both maxima; two steps to a pixel.
    columns, rows = (rng(8).uniform(0, 0.3, (1, 17, 2 * side)).astype(np.float32) for side in (WIDTH, HEIGHT))
    expected = []
    for joint in range(17):
        x, y, score = 3 * joint, 2 * joint + 1, 0.4 + joint / 40
        columns[0, joint, x], rows[0, joint, y] = score, 0.9
        expected.append((x / 2, y / 2, score))
    (body,) = decode("heatmaps", {"x": columns, "y": rows}, task="keypoints", nms=None)
    assert np.array(body.keypoints) == pytest.approx(np.array(expected), abs=1e-4)


def test_lines_of_text():
    # PaddleOCR, ppocr/postprocess/rec_postprocess.py, CTCLabelDecode.decode.
    characters = tuple("abcde")
    steps = rng(7).uniform(0, 0.1, (1, 12, 7)).astype(np.float32)
    for step, (index, value) in enumerate(
        [
            (0, 0.9),
            (1, 0.8),
            (1, 0.7),
            (0, 0.9),
            (1, 0.6),
            (2, 0.95),
            (6, 0.9),
            (0, 0.8),
            (5, 0.5),
            (5, 0.9),
            (0, 1),
            (0, 1),
        ]
    ):
        steps[0, step, index] = value
    best, text, chances = steps[0].argmax(axis=1), "", []
    for i, index in enumerate(best):
        if index != 0 and (i == 0 or best[i - 1] != index):
            text += (*characters, " ")[index - 1]
            chances.append(steps[0, i, index])
    (found,) = decode("text", {"steps": steps}, task="text", labels=characters, nms=None)
    assert (found.text, text) == ("aab e", "aab e")
    assert found.score == pytest.approx(np.mean(chances), abs=1e-5)


@pytest.mark.parametrize("verdict", [True, False])
def test_anomalib_has_its_own_verdict(verdict):
    outputs = {"pred_score": np.array([0.6], np.float32), "pred_label": np.array([verdict])}
    roles = {"pred_score": "score", "pred_label": "verdict"}
    (found,) = decode("anomaly", outputs, roles, task="anomaly", nms=None)
    assert (found.score, found.is_anomaly) == (pytest.approx(0.6), verdict)
    (found,) = decode("anomaly", outputs, roles, task="anomaly", nms=None, threshold=0.7)
    assert not found.is_anomaly


@pytest.mark.parametrize("values", [np.array([5, 12.5, 3]).reshape(1, 1, 1, 3), np.array([11.5])], ids=["map", "score"])
def test_anomalib_before_2_scales_its_score_with_its_threshold_at_a_half(values):
    # anomalib 1, deploy/inferencers/openvino_inferencer.py: the map's maximum, >= image_threshold, then
    # utils/normalization/min_max.py: (score - threshold) / (max - min) + 0.5, clipped.
    outputs = {"output": values.astype(np.float32)}
    role = "map" if values.ndim == 4 else "score"
    options = {"scale": [12.0, 2.0, 22.0]}
    (found,) = decode("anomaly", outputs, {"output": role}, task="anomaly", nms=None, decoder_options=options)
    score = (float(values.max()) - 12) / 20 + 0.5
    assert (found.score, found.is_anomaly) == (pytest.approx(score), values.max() >= 12)
    (found,) = decode(
        "anomaly", outputs, {"output": role}, task="anomaly", nms=None, decoder_options=options, threshold=0.9
    )
    assert not found.is_anomaly
