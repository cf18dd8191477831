"""Tables of chapter 07."""

from collections.abc import Mapping, Sequence

import pandas as pd

from fmlib import evidence
from fmlib.experiments.dissection import SIGNIFICANT, Chance
from fmlib.experiments.inversion import Inverted, State, Way
from fmlib.tables.cells import interval, number, recorded_in, stated, summary, written
from fmlib.visualization.dissection import CUSTOMARY, Dissection
from fmlib.visualization.net2vec import Combinations

WAY_NAMES: dict[Way, str] = {
    "gradient": "gradient descent",
    "up-convolution": "up-convolutional network",
}
STATE_NAMES: dict[State, str] = {"trained": "trained", "untrained": "before training"}
CUTS = {"as published": ("single", "combined"), "freely": ("single_free", "combined_free")}
"""How the masks of a unit and of a combination are cut."""


def inversion(
    live: Mapping[Way, Mapping[State, Mapping[str, Inverted]]],
    mean_image: float,
    recorded: pd.DataFrame,
    recorded_plain: pd.DataFrame,
) -> pd.DataFrame:
    """Distance from the images in percent of that of different images, by layer and way."""

    def cell(way: Way, state: State, layer: str) -> str:
        one = live.get(way, {}).get(state, {}).get(layer)
        return number(None if one is None else 100 * one.errors.mean().item(), ".1f")

    layers = next(iter(live["gradient"].values()))
    plain = evidence.by_seed(recorded_plain, "value", quantity="mean image")
    heads = (
        f"{recorded_in(plain)}: distance (%)", "before training (%)",
        "This run: distance (%)", "This run: before training (%)",
    )  # fmt: skip
    rows = []
    for layer in layers:
        for way, name in WAY_NAMES.items():
            known = [
                evidence.by_seed(recorded, "error", way=way, layer=layer, when=when)
                for when in ("after", "before")
            ]
            cells = [*map(interval, known), *(cell(way, state, layer) for state in STATE_NAMES)]
            rows.append({"Layer": layer, "Way": name, **dict(zip(heads, cells, strict=True))})
    cells = [interval(plain), "–", written(100 * mean_image, ".1f"), "–"]
    rows.append({"Layer": "none", "Way": "mean image", **dict(zip(heads, cells, strict=True))})
    return pd.DataFrame(rows)


def dissection(live: Mapping[State, Sequence[Dissection]], recorded: pd.DataFrame) -> pd.DataFrame:
    """Overlap of units with their best concepts beside that of shuffled units, in percent."""
    rows = []
    for state, found in live.items():
        for one in found:
            chosen = {"state": state, "layer": one.layer}
            known = {
                name: evidence.by_seed(recorded, name, **chosen)
                for name in ("iou", "shuffled", "significant")
            }
            significant = 100 * (one.p_values <= SIGNIFICANT).double().mean().item()
            rows.append(
                {
                    "Network": STATE_NAMES[state],
                    "Layer": one.layer,
                    f"{recorded_in(known['iou'])}: IoU (%)": interval(known["iou"]),
                    "shuffled (%)": interval(known["shuffled"]),
                    "units beyond chance (%)": interval(known["significant"]),
                    "This run: IoU (%)": written(100 * one.best.mean().item(), ".1f"),
                    "This run: shuffled (%)": written(100 * one.shuffled.mean().item(), ".1f"),
                    "This run: units beyond chance (%)": written(significant, ".0f"),
                }
            )
    return pd.DataFrame(rows)


def unit_labels(live: Mapping[State, Sequence[Dissection]], recorded: pd.DataFrame) -> pd.DataFrame:
    """Percent of the units whose best concept is of each category, recorded and in this run."""
    rows = []
    for state, found in live.items():
        for one in found:
            kinds = [label.category for label in one.labels]
            row = {"Network": STATE_NAMES[state], "Layer": one.layer}
            for kind in dict.fromkeys(concept.category for concept in one.concepts):
                chosen = {"state": state, "layer": one.layer, "category": kind}
                known = evidence.by_seed(recorded, "share", **chosen)
                share = 100 * kinds.count(kind) / len(kinds)
                row[f"{kind} (%)"] = f"{interval(known, 0)}; {written(share, '.0f')}"
            rows.append(row)
    return pd.DataFrame(rows)


def chance(live: Sequence[Chance], recorded: pd.DataFrame) -> pd.DataFrame:
    """What shuffled units reach with few images: IoU, and how many reach the customary 0.04."""
    rows = []
    for one in live:
        known = {
            name: evidence.by_seed(recorded, name, images=one.images)
            for name in ("own", "shuffled", "share")
        }
        rows.append(
            {
                "Images": str(one.images),
                f"{recorded_in(known['own'])}: IoU (%)": interval(known["own"]),
                "shuffled (%)": interval(known["shuffled"]),
                f"shuffled from {100 * CUSTOMARY:.0f} % on (% of units)": interval(known["share"]),
                "This run: IoU (%)": written(100 * one.own, ".1f"),
                "This run: shuffled (%)": written(100 * one.shuffled, ".1f"),
                "This run: from 4 % on (% of units)": written(one.share, ".1f"),
            }
        )
    return pd.DataFrame(rows)


def combinations(
    live: Mapping[State, Sequence[Combinations]], layers: Sequence[str], recorded: pd.DataFrame
) -> pd.DataFrame:
    """Concepts by the best unit and by a combination, on new images, in percent."""
    rows = []
    for state, made in live.items():
        by_layer = {one.layer: one for one in made}
        for layer in layers:
            for cut, names in CUTS.items():
                chosen = {"state": state, "layer": layer, "category": "all"}
                known = [evidence.by_seed(recorded, name, **chosen) for name in names]
                one = by_layer.get(layer)
                ours = [
                    number(one and 100 * getattr(one, name).mean().item(), ".1f") for name in names
                ]
                rows.append(
                    {
                        "Network": STATE_NAMES[state],
                        "Layer": layer,
                        "Cut": cut,
                        f"{recorded_in(known[0])}: best unit (%)": interval(known[0]),
                        "combination (%)": interval(known[1]),
                        "This run: best unit (%)": ours[0],
                        "This run: combination (%)": ours[1],
                    }
                )
    return pd.DataFrame(rows)


def inside_summary(
    live: Mapping[Way, Mapping[State, Mapping[str, Inverted]]],
    dissected: Mapping[State, Sequence[Dissection]],
    combined: Mapping[State, Sequence[Combinations]],
    recorded_inversion: pd.DataFrame,
    recorded_units: pd.DataFrame,
    recorded_combined: pd.DataFrame,
) -> pd.DataFrame:
    """What chapter 07 comes to, of the last layer with maps."""
    layer = dissected["trained"][-1].layer
    ways = {way: by_state["trained"][layer] for way, by_state in live.items()}
    known = [
        evidence.by_seed(recorded_inversion, "error", way=way, layer=layer, when="after")
        for way in ways
    ]
    rows = [
        (
            f"distance from the images, {layer}: {WAY_NAMES[way]} (%)",
            stated(outcomes),
            written(100 * one.errors.mean().item(), ".1f"),
        )
        for (way, one), outcomes in zip(ways.items(), known, strict=True)
    ]
    for state, found in dissected.items():
        chosen = {"state": state, "layer": layer}
        own, shuffled = (
            evidence.by_seed(recorded_units, name, **chosen) for name in ("iou", "shuffled")
        )
        value = 100 * (found[-1].best.mean() - found[-1].shuffled.mean()).item()
        rows.append(
            (
                f"IoU of units, own − shuffled (points), {layer}, {STATE_NAMES[state]}",
                stated(evidence.differences(own, shuffled), sign="+"),
                written(value, "+.1f"),
            )
        )
    one = combined["trained"][-1]
    for cut, (single, several) in CUTS.items():
        chosen = {"state": "trained", "layer": one.layer, "category": "all"}
        both = [evidence.by_seed(recorded_combined, name, **chosen) for name in (several, single)]
        value = 100 * (getattr(one, several) - getattr(one, single)).mean().item()
        rows.append(
            (
                f"IoU of concepts, combination − best unit (points), {one.layer}, cut {cut}",
                stated(evidence.differences(*both), sign="+"),
                written(value, "+.1f"),
            )
        )
    return summary([(name, "–", "–", recorded, ours) for name, recorded, ours in rows])
