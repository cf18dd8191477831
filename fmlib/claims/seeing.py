"""Claims of masum2022 (after Zeiler and Fergus): what maps see and how that comes about."""

from statistics import fmean

from fmlib.claims.judging import Claim, Found, Measured, Recorded, mean_of
from fmlib.experiments.seeing import FIRST_LAYERS
from fmlib.stats import Estimate, paired
from fmlib.verdicts import Verdict, beyond, holds, in_all

FIRST, LAST, HEAD = "act1", "act3", "fc"
EARLY = 4
"""Epoch at which layers are compared."""
TURNS = (90, 180, 270)
"""Degrees by which an image is turned over."""


def _numbers(recorded: Recorded, quantity: str) -> dict[int, float]:
    return recorded.by_seed(recorded.seeing, "value", quantity=quantity)


def _difference(recorded: Recorded, first: str, second: str) -> Estimate | None:
    return paired(_numbers(recorded, first), _numbers(recorded, second))


def _specific(recorded: Recorded) -> Found:
    effect = _difference(recorded, f"purity {LAST}", f"purity {FIRST}")
    control = _difference(recorded, f"purity {LAST}", f"purity untrained {LAST}")
    name = "% of a map's nine strongest images in one class"
    measured = [
        Measured(f"{name}: last layer − first (points)", effect),
        Measured(f"{name}: last layer − itself before training", control, role="control"),
    ]
    return beyond(effect, control), measured


def _converge(recorded: Recorded) -> Found:
    gone = {}
    for layer in (FIRST, LAST):
        rows = recorded.rows(recorded.convergence, layer=layer)
        start, early = (recorded.by_seed(rows, "correlation", epoch=epoch) for epoch in (0, EARLY))
        gone[layer] = {
            seed: (early[seed] - start[seed]) / (1 - start[seed]) for seed in early.keys() & start
        }
    effect = paired(*({s: 100 * v for s, v in gone[layer].items()} for layer in (FIRST, LAST)))
    name = f"% of the way to the last epoch's maps gone after {EARLY} epochs"
    measured = [
        Measured(f"{name}: first layer − last (points)", effect),
        *(
            Measured(
                f"{name}: {layer}",
                mean_of({s: 100 * v for s, v in gone[layer].items()}),
                role="context",
                form=".1f",
            )
            for layer in (FIRST, LAST)
        ),
    ]
    return holds(effect), measured


def _invariant(recorded: Recorded) -> Found:
    name = "distance moved by small changes, beside that of different images (%)"
    measured, verdicts = [], []
    for transformation in ("translation", "scaling"):
        gain = {}
        for when in ("", "untrained "):
            first, last = (
                _numbers(recorded, f"moved {when}{transformation} {layer}")
                for layer in (FIRST, HEAD)
            )
            gain[when] = {s: 100 * (first[s] - last[s]) for s in first.keys() & last}
        effect, control = mean_of(gain[""]), paired(gain[""], gain["untrained "])
        verdicts.append(beyond(effect, control))
        words = f"{name}, {transformation}: first layer − output"
        measured += [
            Measured(words, effect),
            Measured(f"{transformation}: the same − before training", control, role="control"),
        ]
    return in_all(verdicts), measured


def _rotation(recorded: Recorded) -> Found:
    """Loss of probability by turning minus that by moving and by scaling."""
    lost = {}
    for transformation, amounts in (
        ("rotation", TURNS), ("translation", (-8, 8)), ("scaling", (0.7, 1.4))
    ):  # fmt: skip
        rows = recorded.rows(recorded.probability, transformation=transformation)
        same = 1 if transformation == "scaling" else 0
        whole = recorded.by_seed(rows, "probability", amount=same)
        found = [recorded.by_seed(rows, "probability", amount=amount) for amount in amounts]
        lost[transformation] = {
            seed: 100 * (whole[seed] - fmean(one[seed] for one in found)) for seed in whole
        }
    effects = [paired(lost["rotation"], lost[other]) for other in ("translation", "scaling")]
    name = "loss of the true class's probability (points): turned by 90 to 270 degrees − "
    measured = [
        Measured(f"{name}moved by 8 pixels", effects[0]),
        Measured(f"{name}scaled by 0.7 or 1.4", effects[1]),
    ]
    return in_all([holds(effect) for effect in effects]), measured


def _localizes(recorded: Recorded) -> Found:
    effect = _difference(recorded, "centre", "border")
    measured = [
        Measured("fall of the class's logit: centre hidden − border hidden", effect, form="+.2f"),
        Measured(
            "largest fall of the strongest map's activity (%): trained − before training",
            _difference(recorded, "activity", "activity untrained"),
            role="context",
        ),
    ]
    return holds(effect), measured


def _corresponds(recorded: Recorded) -> Found:
    name = "Hamming distance of changes (% of features): random parts − the part"
    verdicts, measured = [], []
    for layer, words in ((LAST, "last maps"), (HEAD, "output")):
        rows = recorded.rows(recorded.seen_by_epoch, measure="parts", line=layer)
        epochs = sorted(rows["epoch"].unique().tolist())
        before, after = (
            {s: 100 * v for s, v in recorded.by_seed(rows, "value", epoch=epoch).items()}
            for epoch in (epochs[:1] + epochs[-1:] or (0, 0))
        )
        effect, control = mean_of(after), paired(after, before)
        verdicts.append(beyond(effect, control))
        measured += [
            Measured(f"{name}, {words}", effect),
            Measured(f"{words}: the same − before training", control, role="control"),
        ]
    return in_all(verdicts), measured


def _architecture(recorded: Recorded) -> Found:
    large, small = (f"{kernel}x{kernel}, stride {stride}" for kernel, stride in FIRST_LAYERS)
    accuracy = _difference(recorded, f"accuracy {small}", f"accuracy {large}")
    dead = _difference(recorded, f"dead {large}", f"dead {small}")
    midrange = _difference(recorded, f"midrange {small}", f"midrange {large}")
    measured = [
        Measured("test accuracy, 7×7 stride 2 − 11×11 stride 4 (points)", accuracy),
        Measured("dead maps, 11×11 stride 4 − 7×7 stride 2 (points)", dead, role="context"),
        Measured("power at middle frequencies, 7×7 − 11×11 (points)", midrange, role="context"),
    ]
    return in_all([holds(one) for one in (accuracy, dead, midrange)]), measured


CLAIMS = (
    Claim(
        id="specific-maps",
        words="What excites a map is alike, and the higher the layer the more it is of one class.",
        measure="points of purity, last layer − first; control: − itself before training",
        where="masum2022, VII and Fig. 6",
        chapter="what_feature_maps_see",
        target="tab-purity",
        rule="More of the nine images that excite a map most are of one class in the last layer "
        "than in the first; only partly if not also more than before training.",
        judge=_specific,
        verdict=Verdict.REPRODUCED,
        text="By purity: maps of the last layer sort images by class better than those of the "
        "first and than before training. In the first layer training adds nothing to what "
        "random filters do. That the patches are alike was looked at, not measured.",
    ),
    Claim(
        id="lower-layers-first",
        words="Lower layers converge within a few epochs, upper ones take far longer.",
        measure="points of the way gone after 4 epochs, first layer − last",
        where="masum2022, VII and Fig. 4",
        chapter="what_feature_maps_see",
        target="fig-convergence-recorded",
        rule="After 4 of 23 epochs the maps of the first layer have gone more of the way from "
        "their start to their end than those of the last.",
        judge=_converge,
        verdict=Verdict.REPRODUCED,
        text="After a sixth of the training the first layer has nearly arrived and the last one "
        "has two fifths of its way to go, the head start of random filters not counted.",
    ),
    Claim(
        id="invariance",
        words="Small moves and changes of size move the first layer far, the output little.",
        measure="% of the distance of different images, first layer − output; control: − before "
        "training",
        where="masum2022, VII and Fig. 5",
        chapter="what_feature_maps_see",
        target="fig-invariance",
        rule="Beside the distance of different images, small translations and scalings move the "
        "first layer's vectors more than the output's; only partly if not by more than before "
        "training.",
        judge=_invariant,
        verdict=Verdict.REPRODUCED,
        text="A move by one or two pixels takes the first layer half as far as another image "
        "would, the output a fifth as far. Before training the output moves nearly as far as the "
        "first layer: this is learnt, nearly all of it in the first epoch.",
    ),
    Claim(
        id="rotation",
        words="The output withstands moving and scaling, but not rotation.",
        measure="points of probability lost, turned − moved",
        where="masum2022, VII and Fig. 5",
        chapter="what_feature_maps_see",
        target="fig-invariance-recorded",
        rule="Turning an image by 90 to 270 degrees costs more of the true class's probability "
        "than moving it by 8 pixels, and than scaling it by 0.7 or 1.4.",
        judge=_rotation,
        verdict=Verdict.REPRODUCED,
        text="Turning by a quarter or three quarters costs more than half of the probability, and "
        "more than moving or scaling by these sizes. Larger moves cost as much: small changes "
        "are withstood, large ones are not. Nothing was ever turned in training.",
    ),
    Claim(
        id="localizes",
        words="The network looks at the object: hiding it costs probability, hiding the rest less.",
        measure="fall of the logit, centre − border hidden",
        where="masum2022, VII-B and Fig. 8",
        chapter="what_feature_maps_see",
        target="fig-occlusion",
        rule="Hiding the middle of the image, where the object is, lowers the class's logit more "
        "than hiding its border.",
        judge=_localizes,
        verdict=Verdict.REPRODUCED,
        text="On average hiding the middle costs more than hiding the rest, yet not by much: four "
        "fifths of the fall is there wherever the square lies, so that the network looks at "
        'the surroundings too. Where the object is, is not known here better than "in the '
        'middle".',
    ),
    Claim(
        id="correspondence",
        words="Hiding the same part in several images changes features alike.",
        measure="% of features, random parts − the part; control: − before training",
        where="masum2022, VII-C and Fig. 9",
        chapter="what_feature_maps_see",
        target="fig-correspondence",
        rule="On average over five parts the changes of five images agree more when the same part "
        "is hidden in all of them than when another place is, in the last maps and in the output; "
        "only partly if they did so no less before training.",
        judge=_corresponds,
        verdict=Verdict.PARTLY,
        text="In the last maps the changes agree a little more than at other places, and just as "
        "much before training: it is not learnt. Some of it comes from units that do not see the "
        "part, and so do not change at all. In the output, whose every number sees the whole "
        "image, the changes agree less.",
    ),
    Claim(
        id="first-layer",
        words="Smaller first filters with a smaller stride leave fewer maps dead, cover middle "
        "frequencies better and classify better.",
        measure="points of accuracy, 7×7 stride 2 − 11×11 stride 4",
        where="masum2022, VII-A and Fig. 7",
        chapter="what_feature_maps_see",
        target="tab-first-layers",
        rule="The network of 7×7 filters with stride 2 has the higher accuracy, fewer dead maps "
        "and more power at middle frequencies than that of 11×11 with stride 4.",
        judge=_architecture,
        verdict=Verdict.PARTLY,
        text="More accurate and with more power at middle frequencies, as claimed. Dead maps, "
        "which were a reason for the change, do not occur in either network of this size; "
        "after training both strides alias the same share of their filters' power; and the "
        "smaller stride has more arithmetic to its advantage.",
    ),
)
