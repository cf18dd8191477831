"""Tables of chapter 06."""

from collections.abc import Mapping, Sequence

import pandas as pd

from fmlib import evidence
from fmlib.experiments.looks import SMALL_MOVES, Sanity, Shown, mean_fall, moved_apart
from fmlib.experiments.photographs import Photograph
from fmlib.experiments.seeing import Corresponding, FirstLayer
from fmlib.tables.cells import interval, recorded_in, stated, summary, written
from fmlib.visualization.invariance import Invariance, Transformation
from fmlib.visualization.occlusion import OcclusionMaps


def _known(recorded: pd.DataFrame, quantity: str, factor: float = 1) -> evidence.Outcomes:
    found = evidence.by_seed(recorded, "value", quantity=quantity)
    return {seed: factor * value for seed, value in found.items()}


def _minus(recorded: pd.DataFrame, first: str, second: str, factor: float = 1) -> evidence.Outcomes:
    return evidence.differences(_known(recorded, first, factor), _known(recorded, second, factor))


def purity(shown: Sequence[Shown], recorded: pd.DataFrame) -> pd.DataFrame:
    """How many of a map's nine strongest images are of one class, by layer."""
    rows = []
    for one in shown:
        known = [_known(recorded, f"{kind} {one.layer}") for kind in ("purity", "purity untrained")]
        rows.append(
            {
                "Layer": one.layer,
                "Maps excited": f"{int(one.purity.isfinite().sum())} of {len(one.purity)}",
                f"{recorded_in(known[0])}: in one class (%)": interval(known[0]),
                "before training (%)": interval(known[1]),
                "This run: in one class (%)": f"{one.purity.nanmean().item():.1f}",
                "This run: before training (%)": f"{one.untrained:.1f}",
            }
        )
    return pd.DataFrame(rows)


def moved(found: Mapping[Transformation, Invariance], recorded: pd.DataFrame) -> pd.DataFrame:
    """Distance that small changes move a layer's vectors, different images being 100 %."""
    rows = []
    for name, one in found.items():
        for layer, value in moved_apart(one, SMALL_MOVES[name]).items():
            known = _known(recorded, f"moved {name} {layer}", 100)
            rows.append(
                {
                    "Change": name,
                    "by": ", ".join(written(amount, "g") for amount in SMALL_MOVES[name]),
                    "Layer": layer,
                    f"{recorded_in(known)}: moved (%)": interval(known),
                    "This run: moved (%)": f"{100 * value:.1f}",
                }
            )
    return pd.DataFrame(rows)


def occluded(found: Sequence[OcclusionMaps], recorded: pd.DataFrame) -> pd.DataFrame:
    """Fall of the class's logit when the centre of the image or its border is hidden."""
    falls = mean_fall(found)
    rows = []
    for name, value in falls._asdict().items():
        known = _known(recorded, name)
        rows.append(
            {
                "Hidden": name,
                f"{recorded_in(known)}: fall of the logit": interval(known, 2),
                f"This run, {len(found)} images": f"{value:.2f}",
            }
        )
    return pd.DataFrame(rows)


def correspondence(found: Sequence[Corresponding], recorded: pd.DataFrame) -> pd.DataFrame:
    """Hamming distances of changes in percent of the features: a part, and random parts."""
    rows = []
    for one in found:
        for layer, measured in one.layers.items():
            name = f"{one.part.name} {layer}"
            known = [_known(recorded, f"{kind} {name}", 100) for kind in ("part", "random")]
            rows.append(
                {
                    "Part": f"{one.part.garment}: {one.part.name}",
                    "Layer": layer,
                    f"{recorded_in(known[0])}: the part (%)": interval(known[0]),
                    "random parts (%)": interval(known[1]),
                    "This run: the part (%)": f"{100 * measured.part.mean:.1f}",
                    "This run: random parts (%)": f"{100 * measured.random_mean:.1f}",
                }
            )
    return pd.DataFrame(rows)


def first_layers(found: Sequence[FirstLayer], recorded: pd.DataFrame) -> pd.DataFrame:
    """Measures of two first layers, with what random filters would have."""
    rows = []
    for one in found:
        name = f"{one.kernel}x{one.kernel}, stride {one.stride}"
        random = {"midrange": 50.0, "aliased": 100 * (1 - 1 / one.stride**2)}
        for measure, text in FIRST_LAYER_NAMES.items():
            known = _known(recorded, f"{measure} {name}")
            rows.append(
                {
                    "First layer": name.replace("x", "×"),
                    "Measure (%)": text,
                    recorded_in(known): interval(known),
                    "This run": f"{getattr(one, measure):.1f}",
                    "Random filters": f"{random[measure]:.1f}" if measure in random else "–",
                }
            )
    return pd.DataFrame(rows)


FIRST_LAYER_NAMES = {
    "accuracy": "test accuracy",
    "dead": "dead maps",
    "midrange": "power at middle frequencies",
    "aliased": "power that the stride aliases",
}


def sanity(found: Sequence[Sanity], recorded: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of pictures with those of the trained network, weights drawn anew."""
    rows = []
    heading = recorded_in(_known(recorded, f"{found[0].method}: twin"))
    for one in found:
        others = {"twin": one.twin, "shuffled": one.shuffled, "edges": one.edges}
        for layer, value in {**one.layers, **others}.items():
            known = _known(recorded, f"{one.method}: {layer}")
            rows.append(
                {
                    "Method": one.method,
                    "Compared with": SANITY_NAMES.get(layer, f"{layer} and all above drawn anew"),
                    heading: interval(known, 2),
                    "This run": written(value, ".2f"),
                }
            )
    return pd.DataFrame(rows)


SANITY_NAMES = {
    "twin": "a network trained apart",
    "edges": "an edge detector",
    "shuffled": "a network of shuffled labels",
}


def seeing_summary(
    shown: Sequence[Shown],
    found: Mapping[Transformation, Invariance],
    hidden: Sequence[OcclusionMaps],
    recorded: pd.DataFrame,
) -> pd.DataFrame:
    """What chapter 06 comes to."""
    first, last = shown[0], shown[-1]
    gain = last.purity.nanmean().item() - first.purity.nanmean().item()
    rows = [
        (
            "strongest images of a map in one class, last layer − first (points)",
            stated(_minus(recorded, f"purity {last.layer}", f"purity {first.layer}"), sign="+"),
            written(gain, "+.1f"),
        )
    ]
    for name in ("translation", "scaling"):
        apart = moved_apart(found[name], SMALL_MOVES[name])
        lower, upper = apart
        known = _minus(recorded, f"moved {name} {lower}", f"moved {name} {upper}", 100)
        value = 100 * (apart[lower] - apart[upper])
        text = f"small {name}: distance moved, first layer − output (points)"
        rows.append((text, stated(known, sign="+"), written(value, "+.1f")))
    falls = mean_fall(hidden)
    value = falls.centre - falls.border
    text = "fall of the logit, centre hidden − border hidden"
    rows.append(
        (text, stated(_minus(recorded, "centre", "border"), 2, "+"), written(value, "+.2f"))
    )
    return summary([(name, "–", "–", known, ours) for name, known, ours in rows])


def photographs(seen: Sequence[Photograph]) -> pd.DataFrame:
    """Recorded: the classes of photographs, and what the grey square does to the first of them."""
    rows = []
    for one in seen:
        named = zip(one.classes, one.probabilities, strict=True)
        counts = one.occluded.predictions.items()
        rows.append(
            {
                "Photograph": one.name,
                "Most probable classes (%)": ", ".join(f"{n} {100 * p:.1f}" for n, p in named),
                "Fall of the logit, centre hidden": written(one.occluded.centre, ".2f"),
                "border hidden": written(one.occluded.border, ".2f"),
                "Class named, at so many places": ", ".join(f"{n} {count}" for n, count in counts),
            }
        )
    return pd.DataFrame(rows)
