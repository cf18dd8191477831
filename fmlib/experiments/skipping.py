"""Controls and peers of the cache: what skipping similar images does beyond skipping any images."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from torch import nn

from fmlib.caching import RELEASED, CacheConfig, FeatureCache, InvertedCache
from fmlib.data import Dataset
from fmlib.experiments.caching import CONDITION_NAMES, CachingRun, Point, Run, train_once
from fmlib.experiments.common import Count, Rate, RunConfig
from fmlib.skipping import (
    Budget,
    InfoBatch,
    Permuted,
    ScoreOnly,
    SelectiveBackprop,
    ShuffledLabels,
    random_skip,
)
from fmlib.training import Policy

Rule = Literal[
    "one_rate",
    "stopped",
    "permuted",
    "inverted",
    "shuffled_labels",
    "scored",
    "selective_backprop",
    "infobatch",
]
RULE_NAMES: dict[Rule, str] = {
    "one_rate": "random skipping, all classes at one rate",
    "stopped": "plain, stopped at as many images",
    "permuted": "as many of each batch, chosen at random",
    "inverted": "as many of each class and batch, the least similar",
    "shuffled_labels": "a cache of shuffled labels",
    "scored": "a cache that leaves nothing out",
    "selective_backprop": "selective backprop",
    "infobatch": "InfoBatch",
}
RULES: dict[str, str] = {
    **{str(name): text for name, text in CONDITION_NAMES.items()},
    "random": "random skipping, each class at the cache's rate",
    "nearest": "a cache without threshold",
    **{str(rule): name for rule, name in RULE_NAMES.items() if rule != "scored"},
}
"""All ways of leaving images out, of which accuracies are compared."""
OF_THE_CACHE: tuple[Rule, ...] = ("permuted", "inverted", "shuffled_labels", "scored")
"""Rules that have a cache."""


class SkippingRun(RunConfig):
    """One recorded training that skips images by another rule than the cache's own.

    Runs of the same seed, batch size and number of epochs, and those of `CachingRun`, start from
    the same weights and see the same batches.  `skip_rate` (of all images) and `budget` (images
    trained on in all) are those of the cached run of the same seed.
    """

    batch_size: Count
    epochs: Count = 10
    rule: Rule
    cache: CacheConfig | None = None
    beta: Rate | None = None
    skip_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    budget: Count | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.cache is not None) != (self.rule in OF_THE_CACHE):
            raise ValueError(f"{', '.join(OF_THE_CACHE)} have a cache, and no other rule has")
        if self.cache is not None and self.cache.remember:
            raise ValueError("what is left out is not always a hit; set the cache's remember to 0")
        if (self.beta is not None) != (self.rule == "selective_backprop"):
            raise ValueError("selective_backprop has a beta, and no other rule has")
        if self.skip_rate is not None and self.rule != "one_rate":
            raise ValueError("only one_rate has a skip_rate")
        if self.budget is not None and self.rule != "stopped":
            raise ValueError("only stopped has a budget")
        return self

    @property
    def label(self) -> str:
        """Dataset, images, batch size and rule."""
        rule = self.rule.replace("_", "-")
        return f"{self.dataset}-{self.n_train}-batch-{self.batch_size}-{rule}"

    @property
    def cost(self) -> float:
        """Images trained on, a third for those that only their loss is computed of."""
        shares: dict[Rule, float] = {"shuffled_labels": 1.0, "scored": 1.1, "selective_backprop": 1}
        return shares.get(self.rule, 0.7) * self.n_train * self.epochs * (1 + 8 / self.batch_size)

    @property
    def source(self) -> RunConfig | None:
        """The cached run whose numbers a run without its rate or its budget needs."""
        known = {"one_rate": self.skip_rate, "stopped": self.budget}
        if known.get(self.rule, 0) is not None:
            return None
        shared = self.model_dump(include=CachingRun.model_fields.keys() - {"cache"})
        return CachingRun(**shared, condition="cached", cache=RELEASED)

    def completed(self, source: Run) -> Self:
        """This run with the rate or the number of images of a cached one."""
        epochs = source.history.epochs
        trained, seen = sum(e.trained for e in epochs), sum(e.seen for e in epochs)
        if self.rule == "stopped":
            return self.model_copy(update={"budget": trained})
        return self.model_copy(update={"skip_rate": 1 - trained / seen})

    def run(self) -> Run:
        """Train, tested after every epoch and on the training images at the end."""
        assert self.source is None, "a run by the numbers of a cached one needs them"
        dataset = self.load()
        point = Point(
            self.batch_size, self.epochs, self.seed, test_every_epoch=True, train_accuracy=True
        )
        return train_once(self, dataset, point, lambda model: make_policy(self, model, dataset))


def make_policy(run: SkippingRun, model: nn.Sequential, dataset: Dataset) -> Policy:
    """What leaves images out in a run, for the network that it trains."""
    n_images, n_classes, seed = len(dataset.train_labels), dataset.n_classes, run.seed
    rate, budget, beta = run.skip_rate or 0, run.budget or 0, run.beta or 1  # of their rules alone
    match run.rule:
        case "one_rate":
            return random_skip(rate, n_classes, seed)
        case "stopped":
            return Budget(budget)
        case "permuted":
            return Permuted(_cache(run, model, dataset, FeatureCache), seed)
        case "inverted":
            return _cache(run, model, dataset, InvertedCache)
        case "shuffled_labels":
            return ShuffledLabels(_cache(run, model, dataset, FeatureCache), n_images, seed)
        case "scored":
            return ScoreOnly(_cache(run, model, dataset, FeatureCache))
        case "selective_backprop":
            return SelectiveBackprop(model, n_classes, seed, beta)
        case "infobatch":
            return InfoBatch(n_images, run.epochs, seed)


def _cache(
    run: SkippingRun, model: nn.Sequential, dataset: Dataset, kind: type[FeatureCache]
) -> FeatureCache:
    assert run.cache is not None, "a rule of the cache has one"
    return kind(model, dataset.n_classes, run.cache, dataset.image_shape, dataset.train_images)
