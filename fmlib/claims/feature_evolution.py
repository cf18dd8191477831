"""Claims of punjabi2017: what classes look like while a network is trained."""

from collections.abc import Iterator

import pandas as pd
from scipy.stats import spearmanr

from fmlib.claims.judging import Claim, Found, Measured, Recorded, mean_of
from fmlib.experiments.feature_evolution import Course, Regularizer
from fmlib.experiments.grids import FEW_IMAGES
from fmlib.stats import Estimate, paired
from fmlib.verdicts import Verdict, holds, in_all

IMAGES = 4000
TUNED: tuple[Course, ...] = ("scratch", "pretrained", "frozen", "simplified")
SATURATED = 1.0
"""Points below the best accuracy at which we take it for saturated."""


def _looks(
    recorded: Recorded,
    course: Course,
    regularizer: Regularizer = "small",
    images: int = IMAGES,
) -> pd.DataFrame:
    """Pictures of a course in numbers, its epochs after training has begun."""
    rows = recorded.rows(
        recorded.evolution_looks, course=course, images=images, regularizer=regularizer
    )
    return rows[rows["epoch"] > 0]


def _by_seed(rows: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """Each seed's rows in the order of the epochs."""
    for seed in rows["seed"].unique().tolist():
        yield seed, rows[rows["seed"] == seed].sort_values("epoch").reset_index(drop=True)


def _last(rows: pd.DataFrame, column: str) -> dict[int, float]:
    """A number by seed after the last epoch."""
    return {seed: own[column].tolist()[-1] for seed, own in _by_seed(rows)}


def _trend(rows: pd.DataFrame, column: str) -> Estimate | None:
    """Rank correlation of a number with the accuracy over a course's epochs, over seeds.

    Seeds in which one of them never changes have none, and are left out.
    """
    return mean_of(
        {
            seed: float(spearmanr(own["accuracy"], own[column]).statistic)
            for seed, own in _by_seed(rows)
            if min(own["accuracy"].nunique(), own[column].nunique()) > 1
        }
    )


def _grows(recorded: Recorded) -> Found:
    trends = {
        regularizer: _trend(_looks(recorded, "scratch", regularizer), "variation")
        for regularizer in ("small", "published")
    }
    name = "rank correlation of accuracy and total variation of the pictures"
    measured = [
        Measured(f"{name}, for small pictures", trends["small"], form="+.2f"),
        Measured(f"{name}, as published", trends["published"], role="control", form="+.2f"),
    ]
    return in_all([holds(found) for found in trends.values()]), measured


def _continues(recorded: Recorded) -> Found:
    """Total variation after the last epoch minus that when the accuracy had come near its best."""
    gains, rises = {}, {}
    for regularizer in ("small", "published"):
        for seed, own in _by_seed(_looks(recorded, "scratch", regularizer)):
            accuracies, variations = own["accuracy"].tolist(), own["variation"].tolist()
            near = next(a for a, x in enumerate(accuracies) if x >= max(accuracies) - SATURATED)
            gains[regularizer, seed] = 100 * (variations[-1] / variations[near] - 1)
            rises[seed] = accuracies[-1] - accuracies[near]
    name = "total variation, last epoch beside the first near the best accuracy (%)"
    effect, control = (
        mean_of({seed: gain for (key, seed), gain in gains.items() if key == regularizer})
        for regularizer in ("small", "published")
    )
    measured = [
        Measured(f"{name}, for small pictures", effect),
        Measured(f"{name}, as published", control, role="control"),
        Measured("accuracy, likewise (points)", mean_of(rises), role="context"),
    ]
    return in_all([holds(effect), holds(control)]), measured


def _simpler(recorded: Recorded) -> Found:
    harder, scratch, simplified = (
        _last(_looks(recorded, course), "variation")
        for course in ("harder", "scratch", "simplified")
    )
    plain = [
        _last(_looks(recorded, course, "published"), "variation")
        for course in ("harder", "scratch")
    ]
    name = "total variation of the last pictures, ten classes − four (×1000)"
    effect, tuned, control = (
        paired(*({seed: 1000 * value for seed, value in one.items()} for one in pair))
        for pair in ((harder, scratch), (harder, simplified), plain)
    )
    measured = [
        Measured(f"{name}, trained from scratch", effect),
        Measured(f"{name}, trained further from ten", tuned),
        Measured(f"{name}, from scratch, as published", control, role="control"),
    ]
    return in_all([holds(effect), holds(tuned)]), measured


def _archetypal(recorded: Recorded) -> Found:
    found = {
        course: _last(_looks(recorded, course), "conviction") for course in ("harder", "scratch")
    }
    gain = paired(found["harder"], found["scratch"])
    name = "probability that another network gives the pictures' classes"
    measured = [
        Measured(f"{name}, ten classes − four (points)", gain),
        Measured(
            f"{name}, four classes (%)", mean_of(found["scratch"]), role="context", form=".1f"
        ),
    ]
    return holds(gain), measured


def _confusion(recorded: Recorded) -> Found:
    """Of a course on few images: confusion at the end minus confusion at the best accuracy."""
    rises = {}
    for images in (FEW_IMAGES, IMAGES):
        rise, fall = {}, {}
        for seed, own in _by_seed(_looks(recorded, "scratch", images=images)):
            accuracies, confusions = own["accuracy"].tolist(), own["confusion"].tolist()
            best = accuracies.index(max(accuracies))
            rise[seed] = confusions[-1] - confusions[best]
            fall[seed] = accuracies[-1] - accuracies[best]
        rises[images] = mean_of(rise), mean_of(fall)
    name = "confusion of the pictures, last epoch − epoch of the best accuracy"
    measured = [
        Measured(f"{name}, {FEW_IMAGES} training images", rises[FEW_IMAGES][0], form="+.3f"),
        Measured(f"{name}, {IMAGES:,} training images", rises[IMAGES][0], form="+.3f"),
        Measured("accuracy, likewise, few images (points)", rises[FEW_IMAGES][1], role="context"),
        Measured("accuracy, likewise, all images (points)", rises[IMAGES][1], role="context"),
    ]
    return in_all([holds(rise) for rise, _ in rises.values()]), measured


def _transfer(recorded: Recorded) -> Found:
    found = {}
    for course in TUNED:
        rows = recorded.rows(recorded.evolution, course=course, images=IMAGES)
        best = {seed: max(own["accuracy"].tolist()) for seed, own in _by_seed(rows)}
        found[course] = best, recorded.by_seed(rows, "accuracy", epoch=2)
    (scratch_best, scratch_early), (best, early), (frozen_best, _), (simplified_best, _) = (
        found[c] for c in TUNED
    )
    higher, sooner = paired(best, scratch_best), paired(early, scratch_early)
    frozen, more = (paired(one, scratch_best) for one in (frozen_best, simplified_best))
    name = "validation accuracy, pretrained − from scratch (points)"
    measured = [
        Measured(f"{name}: after 2 epochs", sooner, 89 - 80),
        Measured(f"{name}: best", higher, 96 - 93),
        Measured(f"{name}: best, convolutions frozen", frozen, role="context"),
        Measured(f"{name}: best, pretrained on all ten classes", more, role="context"),
    ]
    return in_all([holds(sooner), holds(higher)]), measured


CLAIMS = (
    Claim(
        id="transfer",
        words="A network pretrained on other classes learns sooner and ends higher.",
        measure="points of validation accuracy, pretrained − from scratch, after 2 epochs",
        where="punjabi2017, Tables 1 and 2",
        chapter="feature_evolution",
        target="fig-transfer-recorded",
        rule="After two epochs and at its best, the accuracy of the pretrained network is higher.",
        judge=_transfer,
        verdict=Verdict.PARTLY,
        text="Sooner, yes: after two epochs the pretrained network is far ahead. Higher, no: its "
        "best accuracy is that of the network from scratch. Pretrained on all ten classes, "
        "which have seen more images, it does end higher; with its convolutions frozen it "
        "stays behind.",
    ),
    Claim(
        id="complexity",
        words="What a class looks like to the network grows more complex as accuracy rises.",
        measure="rank correlation of accuracy and total variation; control: as published",
        where="punjabi2017, V-A and VI",
        chapter="feature_evolution",
        target="fig-looks-recorded",
        rule="Over the epochs of a training the total variation of the pictures rises with the "
        "validation accuracy, with the regularizers of this book and with the published ones.",
        judge=_grows,
        verdict=Verdict.PARTLY,
        text="With pictures restrained as suits their size it does. With the published filter it "
        "is the other way round at this size: the pictures are strongest after the first "
        "epoch and fade while accuracy rises. What is seen depends on how one looks.",
    ),
    Claim(
        id="saturation",
        words="It can grow on when accuracy no longer rises.",
        measure="% more total variation at the end than when accuracy came near its best; control: "
        "as published",
        where="punjabi2017, VI",
        chapter="feature_evolution",
        target="fig-looks-recorded",
        rule="Between the first epoch shown whose accuracy is within a point of the best and the "
        "last epoch, the total variation of the pictures rises, in both ways of restraining them.",
        judge=_continues,
        verdict=Verdict.PARTLY,
        text="Restrained as suits small pictures, by far: total variation grows by half to more "
        "than threefold while accuracy stands still, part of which may be the growth of the "
        "weights. With the published filter hardly anything changes by then.",
    ),
    Claim(
        id="few-classes",
        words="A task of fewer classes gives simpler features, even to a network that was "
        "pretrained on more.",
        measure="total variation (×1000), ten classes − four",
        where="punjabi2017, V and VI",
        chapter="feature_evolution",
        target="tab-complexity-recorded",
        rule="The last pictures of a network trained on ten classes vary more than those of one "
        "trained on four, and than those of itself after further training on the four.",
        judge=_simpler,
        verdict=Verdict.NOT_REPRODUCED,
        text="The other way round in total variation: after as many steps the network of ten "
        "classes makes the plainer pictures, in both ways of restraining them, and further "
        "training on four classes makes them richer. The harder task is learnt less far in "
        "the same number of steps, which may be the reason.",
    ),
    Claim(
        id="archetypal",
        words="A harder task gives features that are more typical of their class.",
        measure="points of a judge's probability, ten classes − four",
        where="punjabi2017, VI",
        chapter="feature_evolution",
        target="tab-complexity-recorded",
        rule="A network trained apart is surer of the class of the pictures from the network "
        "trained on ten classes than of those from the one trained on four.",
        judge=_archetypal,
        verdict=Verdict.NOT_REPRODUCED,
        text="Another network is slightly less sure of them. It is nearly certain of the pictures "
        "from four classes, so that little could be gained; with the published filter the gap "
        "is wider and has the same sign.",
    ),
    Claim(
        id="feature-confusion",
        words="When a network overfits, features of one class appear in the pictures of others.",
        measure="confusion (correlation of pictures), last epoch − epoch of the best accuracy",
        where="punjabi2017, V-B",
        chapter="feature_evolution",
        target="fig-overfitting-recorded",
        rule="From the epoch of the best validation accuracy to the last, pictures of different "
        "classes grow more alike, with few and with all training images.",
        judge=_confusion,
        verdict=Verdict.NOT_REPRODUCED,
        text="Where accuracy falls, by less than a point, pictures of different classes grow less "
        "alike, not more; where a network learns its few images by heart, accuracy hardly "
        "falls and likeness stays as it was. A fall of three points, as in the paper, did not "
        "occur here.",
    ),
)
