"""Claims of sections 3 and 3.1: centroids, outliers, embeddings."""

from fmlib.claims.judging import Claim, Found, Measured, Recorded, mean_of
from fmlib.stats import Estimate, paired, share
from fmlib.verdicts import Verdict, holds, in_all


def _looks(recorded: Recorded, quantity: str) -> dict[int, float]:
    return recorded.by_seed(recorded.exploration, "value", quantity=quantity)


def _centroids(recorded: Recorded) -> Found:
    """Every seed sees the same images, so that the interval is over test images."""
    found = None
    if accuracies := list(_looks(recorded, "nearest centroid").values()):
        part = share(round(TEST_IMAGES * accuracies[0] / 100), TEST_IMAGES)
        found = Estimate(100 * part.mean, 100 * part.low, 100 * part.high, part.n)
    name = "test images nearest to their own class's mean image (%; n counts images)"
    return holds(found, 50), [Measured(name, found, form=".1f")]


TEST_IMAGES = 10_000


def _outliers(recorded: Recorded) -> Found:
    trend = {split: mean_of(_looks(recorded, f"trend {split}")) for split in ("train", "test")}
    name = "rank correlation of error rate and distance to the mean image, {} images"
    measured = [Measured(name.format(s), found, form=".2f") for s, found in trend.items()]
    return in_all([holds(found) for found in trend.values()]), measured


def _overfitting(recorded: Recorded) -> Found:
    measured: list[Measured] = []
    name = "accuracy of a network that never saw the outliers minus one that did, {} (points)"
    for group in ("test images, outlying tenth", "training images, outlying tenth"):
        networks = [_looks(recorded, f"{group}: {n}") for n in ("no outliers", "control")]
        found = paired(networks[0], networks[1])
        measured.append(
            Measured(name.format(group), found, role="context" if measured else "effect")
        )
    return holds(measured[0].found), measured


def _embeddings(recorded: Recorded) -> Found:
    tsne, pca = (_looks(recorded, space) for space in ("t-SNE", "PCA"))
    better = paired(tsne, pca)
    name = "neighbours in the plane name the class"
    measured = [
        Measured(f"{name}: t-SNE − PCA (points)", better),
        Measured(f"{name}: PCA (%)", mean_of(pca), role="control", form=".1f"),
        Measured(f"{name}, all images: t-SNE − PCA (points)", _whole(recorded), role="context"),
    ]
    return holds(better), measured


def _whole(recorded: Recorded) -> Estimate | None:
    tsne, pca = (
        recorded.by_seed(recorded.embeddings, "value", quantity=space) for space in ("t-SNE", "PCA")
    )
    return paired(tsne, pca)


CLAIMS = (
    Claim(
        id="centroids",
        words="The mean image of each class looks like its digit.",
        measure="% of test images nearest to their own class's mean image",
        where="section 3, Fig. 1",
        chapter="exploration",
        target="fig-1",
        rule="More than half of the test images are nearest to the mean image of their own class.",
        judge=_centroids,
        verdict=Verdict.REPRODUCED,
        text="Mean images are no more than a look at the data, and they hold: naming the class of "
        "the nearest one is right far more often than not.",
    ),
    Claim(
        id="outliers",
        words="Images far from the mean image of their class are the odd ones.",
        measure="rank correlation of error rate and distance",
        where="section 3, Fig. 2",
        chapter="exploration",
        target="fig-errors",
        rule="Among training and among test images a trained network errs the more often, the "
        "farther the decile: the rank correlation's interval lies above zero.",
        judge=_outliers,
        verdict=Verdict.REPRODUCED,
        text="The paper judges by eye. A network agrees: the farther an image from its mean image, "
        "the more often it is named wrong.",
    ),
    Claim(
        id="overfitting",
        words="A model that gets these outliers right generalizes badly: it overfits.",
        measure="points of accuracy on outliers, never seen − seen in training",
        where="section 3",
        chapter="exploration",
        target="tab-left-out",
        rule="On outlying test images a network that never saw outliers does better than one that "
        "did.",
        judge=_overfitting,
        verdict=Verdict.NOT_REPRODUCED,
        text="It is the other way round: a network that was trained on the outliers is better at "
        "outlying images that it has never seen. Getting them right is learning, not overfitting.",
    ),
    Claim(
        id="t-sne",
        words="t-SNE separates the classes better than PCA.",
        measure="points, t-SNE − PCA, of neighbours that name the class; control: PCA in %",
        where="section 3.1, Fig. 3",
        chapter="exploration",
        target="fig-3",
        rule="Neighbours in the plane name the class more often after t-SNE than after PCA.",
        judge=_embeddings,
        verdict=Verdict.REPRODUCED,
        text="By a wide margin, and for each of the samples.",
    ),
)
