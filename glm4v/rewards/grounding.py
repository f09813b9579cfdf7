"""Boxes around what was asked for: IoU where one thing is there, F1 at an IoU of 0.5 where there are several."""

from collections.abc import Mapping

from glm4v.rewards.boxes import Box, parse_boxes
from glm4v.rewards.verdict import Truth, Verdict, quote

THRESHOLD = 0.5
# A box around everything always overlaps; one that covers this share of the picture must fit this well to count.
EVERYTHING, CLOSE_FIT = 0.9, 0.8
PICTURE = 1_000_000.0


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """Graded: with one true box its IoU with the only answer; with several, the F1 of matches at IoU >= 0.5.

    0 for at least twice as many boxes as there are (a search, not an answer) and for boxes around everything.

    Args:
        truth: text as in an answer, or a dict with "boxes" (or one "box"), coordinates 0..1000.
    """
    truths = _true_boxes(truth)
    boxes = parse_boxes(prediction)
    if boxes is None:
        return Verdict(0.0, f"{quote(prediction)} is not a list of boxes within 0..1000")
    if len(boxes) >= 2 * len(truths):
        return Verdict(0.0, f"{len(boxes)} boxes for {len(truths)}")
    matches = _match([box for box in boxes if not _everything(box, truths)], truths)
    if len(truths) == 1:
        overlap = matches[0] if matches else 0.0
        return Verdict(overlap, f"IoU {overlap:.2f}")
    hits = sum(overlap >= THRESHOLD for overlap in matches)
    return Verdict(2 * hits / (len(boxes) + len(truths)), f"{hits} of {len(truths)} found with {len(boxes)} boxes")


def _everything(box: Box, truths: list[Box]) -> bool:
    return box.area >= EVERYTHING * PICTURE and max(box.iou(truth) for truth in truths) < CLOSE_FIT


def _match(boxes: list[Box], truths: list[Box]) -> list[float]:
    """IoUs of pairs, each box and truth used once, best pairs first."""
    pairs = sorted(
        ((box.iou(truth), i, j) for i, box in enumerate(boxes) for j, truth in enumerate(truths)), reverse=True
    )
    used_boxes: set[int] = set()
    used_truths: set[int] = set()
    overlaps = []
    for overlap, i, j in pairs:
        if i not in used_boxes and j not in used_truths:
            used_boxes.add(i)
            used_truths.add(j)
            overlaps.append(overlap)
    return overlaps


def _true_boxes(truth: Truth) -> list[Box]:
    if isinstance(truth, Mapping):
        listed = truth["boxes"] if "boxes" in truth else [truth["box"]] if "box" in truth else None
        boxes = None if listed is None else [Box(*(float(number) for number in box)) for box in listed]
    else:
        boxes = parse_boxes(str(truth))
    if not boxes:
        raise ValueError(
            f'truth: {truth!r} holds no box; expected "[[x1,y1,x2,y2]]" in 0..1000, or a dict with "boxes"'
        )
    return boxes
