"""Claims of masum2022 (after Zeiler and Fergus): which layers matter, and how features transfer."""

from collections.abc import Callable, Sequence
from statistics import fmean

from fmlib import published
from fmlib.claims.judging import (
    SLIGHT,
    Claim,
    Found,
    Measured,
    Recorded,
    mean_of,
)
from fmlib.experiments.ablation import DUPLICATE, Variant
from fmlib.experiments.transfer import TRANSFER_NAMES
from fmlib.stats import Estimate, paired, share
from fmlib.verdicts import Verdict, beyond, holds, in_all, within

LITTLE = 2.0
"""Points of accuracy that a layer may cost and still be said to cost little."""
FEW = 20
"""Images of each class up to which there are few."""
RARE = 1.0
"""Percent of the images that are said to be few."""
ENDS = {"cifar10-to-cifar10": ("pool1", "act7")}
"""First and last layer of a transfer's network whose features are taken; else act1 and act3."""


def _accuracy(
    recorded: Recorded, variant: Variant, column: str = "test_accuracy"
) -> dict[int, float]:
    return recorded.by_seed(recorded.ablation, column, variant=variant, way="recipe")


def _over(recorded: Recorded, first: Variant, second: Variant, column: str) -> Estimate | None:
    return paired(_accuracy(recorded, first, column), _accuracy(recorded, second, column))


def _removed(recorded: Recorded, variant: Variant) -> Found:
    found = _over(recorded, variant, "full", "test_accuracy")
    left = mean_of(_accuracy(recorded, variant, "parameters"))
    measured = [
        Measured(f"test accuracy, {variant} − full network (points)", found),
        Measured("parameters that are left", left, role="context", form=",.0f"),
        Measured(
            "parameters of the full network",
            mean_of(_accuracy(recorded, "full", "parameters")),
            role="context",
            form=",.0f",
        ),
    ]
    return holds(found, -LITTLE), measured


def _linear(recorded: Recorded) -> Found:
    return _removed(recorded, "no 6, 7")


def _middle(recorded: Recorded) -> Found:
    return _removed(recorded, "no 3, 4")


def _depth(recorded: Recorded) -> Found:
    neither = _accuracy(recorded, "no 3, 4, 6, 7")
    single = [_accuracy(recorded, variant) for variant in ("no 3, 4", "no 6, 7")]
    worse = {seed: min(one[seed] for one in single) for seed in single[0].keys() & single[1].keys()}
    effect, control = paired(_accuracy(recorded, "full"), neither), paired(worse, neither)
    measured = [
        Measured("test accuracy, full network − no 3, 4, 6, 7 (points)", effect),
        Measured("the worse of no 3, 4 and no 6, 7 − no 3, 4, 6, 7", control, role="control"),
    ]
    return beyond(effect, control, LITTLE), measured


def _width(recorded: Recorded) -> Found:
    cases: tuple[Variant, ...] = ("6, 7 halved", "6, 7 doubled")
    found = {one: _over(recorded, one, "full", "test_accuracy") for one in cases}
    measured = [
        Measured(f"test accuracy, {one} − full network (points)", f) for one, f in found.items()
    ]
    return in_all([within(one, -SLIGHT, SLIGHT) for one in found.values()]), measured


def _wider(recorded: Recorded) -> Found:
    found = _over(recorded, "3, 4, 5 widened", "full", "test_accuracy")
    return holds(found), [Measured("test accuracy, 3, 4, 5 widened − full network (points)", found)]


def _overfits(recorded: Recorded) -> Found:
    both: Variant = "3, 4, 5 widened, 6, 7 doubled"
    gap = _over(recorded, both, "3, 4, 5 widened", "gap")
    test = _over(recorded, both, "3, 4, 5 widened", "test_accuracy")
    measured = [
        Measured("gap of train and test accuracy, both enlarged − 3, 4, 5 alone (points)", gap),
        Measured("test accuracy, both enlarged − 3, 4, 5 alone (points)", test),
    ]
    return in_all([holds(gap), holds(test.negated if test else None)]), measured


def _mean(
    recorded: Recorded, transfer: str, features: str, layer: str, sizes: Sequence[int]
) -> dict[int, float]:
    """Accuracy by seed, a mean over numbers of images."""
    chosen = {"transfer": transfer, "features": features, "layer": layer}
    found = [
        recorded.by_seed(recorded.transfers, "accuracy", **chosen, size=size) for size in sizes
    ]
    seeds = set[int]().union(*found) if found else set()
    return {s: fmean(one[s] for one in found) for s in seeds if all(s in one for one in found)}


def _sizes(recorded: Recorded, most: float = float("inf")) -> list[int]:
    return sorted(size for size in recorded.transfers["size"].unique().tolist() if size <= most)


def _few(recorded: Recorded) -> Found:
    return _against(recorded, "scratch", "a network trained on them alone", FEW)


def _generalizes(recorded: Recorded) -> Found:
    return _against(recorded, "pixels", "a softmax on pixels", float("inf"))


def _against(recorded: Recorded, other: str, name: str, most: float) -> Found:
    """The last layer's features against something else and, as control, untrained ones."""
    verdicts, measured, sizes = [], [], _sizes(recorded, most)
    for transfer, words in TRANSFER_NAMES.items():
        _, last = ENDS.get(transfer, ("act1", "act3"))
        own, random = (
            _mean(recorded, transfer, kind, last, sizes) for kind in ("trained", "untrained")
        )
        effect = paired(own, _mean(recorded, transfer, other, "", sizes))
        control = paired(own, random)
        verdicts.append(beyond(effect, control))
        measured += [
            Measured(f"{words}: softmax on the last layer − {name} (points)", effect),
            Measured(f"{words}: − on the same layer untrained", control, role="control"),
        ]
    return in_all(verdicts), measured


def _deeper(recorded: Recorded) -> Found:
    verdicts, measured, sizes = [], [], _sizes(recorded)
    for transfer, words in TRANSFER_NAMES.items():
        first, last = ENDS.get(transfer, ("act1", "act3"))
        gain = {}
        for kind in ("trained", "untrained"):
            upper, lower = (
                _mean(recorded, transfer, kind, layer, sizes) for layer in (last, first)
            )
            gain[kind] = {s: upper[s] - lower[s] for s in upper.keys() & lower}
        effect, control = mean_of(gain["trained"]), paired(gain["trained"], gain["untrained"])
        verdicts.append(beyond(effect, control))
        measured += [
            Measured(f"{words}: last layer − first (points)", effect),
            Measured(f"{words}: the same − that of the untrained network", control, role="control"),
        ]
    return in_all(verdicts), measured


def _overlaps(recorded: Recorded) -> Found:
    rows = recorded.rows(recorded.overlaps, sets="CIFAR-10, six other classes", threshold=DUPLICATE)
    found = None
    if len(rows):
        one = share(int(rows["count"].iloc[0]), int(rows["n_test"].iloc[0]))
        found = Estimate(100 * one.mean, 100 * one.low, 100 * one.high, one.n)
    name = f"% of the images with one of correlation {DUPLICATE} or more among the others"
    verdict = holds(found.negated if found else None, -RARE)
    return verdict, [Measured(name, found, form=".2f")]


def _published(name: str) -> Callable[[Recorded], Found]:
    """Nothing is measured of it here."""
    value = published.ZF_IMAGENET[name]
    return lambda recorded: (Verdict.NOT_TESTABLE, [Measured(name, None, value, form=".1f")])


IMAGENET = {
    "repeated": (
        "Krizhevsky's network, trained again on ImageNet 2012, comes within 1 % of its error.",
        "% of error",
    ),
    "single": (
        "With smaller first filters one network surpasses Krizhevsky's by 1.7 points.",
        "points of top-5 error",
    ),
    "several": (
        "Several such networks together reach a top-5 error of 14.8 %, the lowest published.",
        "% of test images",
    ),
}
"""Claims on ImageNet, in the order of the paper: words and measure."""

CLAIMS = (
    *(
        Claim(
            id=f"imagenet-{name}",
            words=words,
            measure=measure,
            where="masum2022, VIII-A",
            chapter="ablation_and_transfer",
            target="tab-imagenet",
            rule="None. It would take the 1.3 million images of ImageNet 2012 and days of a "
            "graphics card.",
            judge=_published(quantity),
            verdict=Verdict.NOT_TESTABLE,
            text="Neither the images nor the computing are to be had here.",
        )
        for (name, (words, measure)), quantity in zip(
            IMAGENET.items(), published.ZF_IMAGENET, strict=True
        )
    ),
    Claim(
        id="linear-layers",
        words="Without both hidden linear layers, which hold most of the parameters, the error "
        "rises only slightly.",
        measure="points of test accuracy, without layers 6 and 7 − full network",
        where="masum2022, VIII-B",
        chapter="ablation_and_transfer",
        target="fig-ablation-recorded",
        rule="Without layers 6 and 7 the test accuracy is less than 2 points below that of the "
        "full network.",
        judge=_linear,
        verdict=Verdict.REPRODUCED,
        text="The error does not even rise: with 82 % of its parameters taken out the network "
        "gains 2.3 points. Dropout goes with these layers; the full network without dropout gains "
        "as much.",
    ),
    Claim(
        id="middle-convolutions",
        words="Without two middle convolutions the error rises only slightly.",
        measure="points of test accuracy, without layers 3 and 4 − full network",
        where="masum2022, VIII-B",
        chapter="ablation_and_transfer",
        target="fig-ablation-recorded",
        rule="Without layers 3 and 4 the test accuracy is less than 2 points below that of the "
        "full network.",
        judge=_middle,
        verdict=Verdict.INCONCLUSIVE,
        text="The five seeds disagree, from 1.4 points gained to 3.8 points lost.",
    ),
    Claim(
        id="depth",
        words="Without both, the network is far worse: its depth is what matters.",
        measure="points of test accuracy, full network − without layers 3, 4, 6, 7; control: the "
        "worse of those without two − without four",
        where="masum2022, VIII-B",
        chapter="ablation_and_transfer",
        target="fig-ablation-recorded",
        rule="Without layers 3, 4, 6 and 7 the test accuracy is more than 2 points below that of "
        "the full network; only partly if it is not also below the accuracy without either two.",
        judge=_depth,
        verdict=Verdict.NOT_REPRODUCED,
        text="The network without all four layers is better than the full one with every seed, and "
        "better than those without two. With 3,000 small images and 16 epochs depth is no help.",
    ),
    Claim(
        id="linear-width",
        words="The size of the hidden linear layers makes little difference.",
        measure="points of test accuracy, layers 6 and 7 of another size − full network",
        where="masum2022, VIII-B",
        chapter="ablation_and_transfer",
        target="fig-ablation-recorded",
        rule="With layers 6 and 7 halved, and with them doubled, the test accuracy lies within 1 "
        "point of that of the full network.",
        judge=_width,
        verdict=Verdict.PARTLY,
        text="Halved, they make next to no difference. Doubled, they gain up to 1.6 points with "
        "some seeds and lose up to 4.6 with others, so that the mean is uncertain.",
    ),
    Claim(
        id="wider-convolutions",
        words="Larger middle convolutions bring a useful gain.",
        measure="points of test accuracy, layers 3, 4, 5 widened − full network",
        where="masum2022, VIII-B",
        chapter="ablation_and_transfer",
        target="fig-ablation-recorded",
        rule="With layers 3, 4 and 5 widened the test accuracy is above that of the full network.",
        judge=_wider,
        verdict=Verdict.REPRODUCED,
        text="With each of the five seeds, by 1.0 to 2.6 points.",
    ),
    Claim(
        id="enlarging-both",
        words="Enlarging the linear layers as well leads to over-fitting.",
        measure="points of train − test gap, and of test accuracy, both enlarged against "
        "convolutions alone",
        where="masum2022, VIII-B",
        chapter="ablation_and_transfer",
        target="fig-ablation-recorded",
        rule="Enlarging layers 6 and 7 besides 3, 4 and 5 widens the gap of training and test "
        "accuracy, and lowers the test accuracy.",
        judge=_overfits,
        verdict=Verdict.PARTLY,
        text="Accuracy is lower, above all because one seed of five never left chance. The gap of "
        "training and test does not widen: the largest network is harder to train, and does not "
        "over-fit more.",
    ),
    Claim(
        id="few-examples",
        words="A softmax on frozen features learns another dataset from few images.",
        measure="points at 5 to 20 images per class, last layer − from scratch; control: − "
        "untrained",
        where="masum2022, VIII-C",
        chapter="ablation_and_transfer",
        target="fig-frozen-recorded",
        rule="In all three transfers, with 5 to 20 images of each class, a softmax on the last "
        "hidden layer of a trained network is more accurate than a network trained on these "
        "images alone; only partly if not also more than on the same layer untrained.",
        judge=_few,
        verdict=Verdict.PARTLY,
        text="Between classes of CIFAR-10, with 5 and 10 images. From garments to digits and back "
        "a network trained on the few images alone is ahead from the start. One such training of "
        "five on 10 images of each class of CIFAR-10 never left chance, so that the gain there is "
        "rather too large.",
    ),
    Claim(
        id="generalization",
        words="The features of a trained network generalize to other datasets.",
        measure="points over all numbers of images, last layer − pixels; control: − untrained",
        where="masum2022, VIII-C",
        chapter="ablation_and_transfer",
        target="fig-frozen-recorded",
        rule="In all three transfers a softmax on the last hidden layer of a trained network is "
        "more accurate than one on pixels, a mean over all numbers of images; only partly if not "
        "also more than on the same layer untrained.",
        judge=_generalizes,
        verdict=Verdict.PARTLY,
        text="Between classes of CIFAR-10 the last layer beats pixels, and itself before training. "
        "From garments to digits training adds to it, yet pixels are better; from digits to "
        "garments it takes away. Lower layers do better in all three.",
    ),
    Claim(
        id="deeper-features",
        words="The deeper the layer, the better its features serve another dataset: the paper "
        "keeps all layers up to the last hidden one.",
        measure="points over all numbers of images, last layer − first; control: the same − that "
        "of the untrained network",
        where="masum2022, VIII-C",
        chapter="ablation_and_transfer",
        target="fig-layers-recorded",
        rule="In all three transfers a softmax on the last hidden layer is more accurate than one "
        "on the first, a mean over all numbers of images; only partly if this gain does not exceed "
        "that of the untrained network.",
        judge=_deeper,
        verdict=Verdict.NOT_REPRODUCED,
        text="The first or the second layer is best in all three transfers, and from there on "
        "accuracy falls, as in untrained networks. Only with 5 images of each class of CIFAR-10 "
        "are deep layers ahead.",
    ),
    Claim(
        id="few-overlaps",
        words="Only a few images of the two datasets overlap, found by normalized correlation.",
        measure="% of the images, correlation 0.9 or more",
        where="masum2022, VIII-C",
        chapter="ablation_and_transfer",
        target="tab-overlaps",
        rule="Less than 1 % of the test images of four classes of CIFAR-10 have an image of "
        "correlation 0.9 or more among the training images of the other six.",
        judge=_overlaps,
        verdict=Verdict.REPRODUCED,
        text="Far less than one in a hundred, and these are no copies but pictures built alike, "
        "such as a bird and a plane in the same sky.",
    ),
)
