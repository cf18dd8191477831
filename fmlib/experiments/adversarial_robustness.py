"""Chapter 04: base model and feature-map model on perturbed images, with controls."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from typing import Annotated, ClassVar, Literal, NamedTuple, Self, TypeVar, get_args

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from fmlib import attacks
from fmlib.experiments.common import (
    Count,
    Result,
    RunConfig,
    Settings,
    setting,
    trained_copy,
)
from fmlib.experiments.feature_map_regularization import (
    FROM_MAPS,
    OTHER_WEIGHTS,
    Model,
    Sets,
    map_sets,
    training_sets,
)
from fmlib.models import chunk_size
from fmlib.training import Divergence, History, evaluate, evaluating, fit, predict

Live = Literal["base", "maps", "originals"]
Victim = Literal[Live, "twin", "other twin"]
VICTIMS: tuple[Live, ...] = get_args(Live)
"""The models of the live chapter; recorded runs add twins, base models of other seeds."""
TWIN_NAMES: dict[Victim, str] = {"twin": "first twin", "other twin": "second twin"}
TWINS = tuple(TWIN_NAMES)
Shared = Literal[
    "unchanged", "released", "sign noise",
    "fgsm on base", "fgsm on maps", "fgsm on originals", "fgsm on twin", "fgsm on other twin",
    "pgd on base", "pgd on maps", "pgd on originals", "pgd on twin", "pgd on other twin",
]  # fmt: skip
Own = Literal["own fgsm", "own pgd", "own restarts", "own squares"]
Perturbation = Shared | Own
"""Shared: all models see the same images.  Own: each sees those made against itself."""
STRONGEST: tuple[Own, ...] = ("own restarts", "own squares")
"""The strongest attacks with gradients and without."""
FGSM_ON: dict[Victim, Shared] = {
    "base": "fgsm on base",
    "maps": "fgsm on maps",
    "originals": "fgsm on originals",
    "twin": "fgsm on twin",
    "other twin": "fgsm on other twin",
}
PGD_ON: dict[Victim, Shared] = {
    "base": "pgd on base",
    "maps": "pgd on maps",
    "originals": "pgd on originals",
    "twin": "pgd on twin",
    "other twin": "pgd on other twin",
}
SignOfMasking = Literal[
    "iterated", "transfer", "gradient-free", "no gradient", "eps 1", "eps 1 iterated"
]
Name = TypeVar("Name", bound=str)
Eps = Annotated[float, Field(ge=0, le=1)]
Epsilons = Annotated[tuple[Eps, ...], Field(strict=False, min_length=1)]


class AttackedRun(RunConfig):
    """What recorded runs of Figure 10 have in common: training, held-out images, PGD."""

    n_held_out: Count = 10_000
    batch_size: Count = 64
    epochs: Count = 10
    map_epochs: Count = 2
    map_images: Count = 5000
    layer: str = "conv1"
    epsilons: tuple[Eps, ...] = (0.05, 0.15, 0.25)
    n_attacked: Count = 1000
    pgd_steps: Count = 20
    pgd_step: Annotated[float, Field(gt=0, le=2)] = 0.1
    restarts: Count = 2

    def images_needed(self) -> int:
        """Training images and held-out images."""
        return self.n_train + self.n_held_out


class RobustnessRun(AttackedRun):
    """One recorded seed of Figure 10: base model, map model, control, and two twins.

    A twin is a base model of another seed, trained on no feature maps.
    """

    @property
    def label(self) -> str:
        """Dataset and number of images."""
        return f"{self.dataset}-{self.n_train}"

    @property
    def cost(self) -> float:
        """Images that gradients are computed of."""
        gradients = self.n_attacked * len(self.epsilons) * self.pgd_steps * (1 + self.restarts)
        copies = 2 * 15 * self.map_images * self.map_epochs
        return 3 * self.n_train * self.epochs + copies + 5 * gradients

    def run(self) -> "Robustness":
        """Train the five models, perturb the held-out images, judge every model on them."""
        trained = train(self, self.seed)
        for number, name in enumerate(TWINS, start=1):
            twin, accuracy = train_base(self, self.seed + 1000 * number)
            trained.models[name], trained.test_accuracy[name] = twin, accuracy
        return _transferred(trained, self)


class AttacksRun(AttackedRun):
    """One recorded seed of the base model and its four copies, each attacked by itself.

    On all held-out images FGSM and random signs at every eps of `curve`; on the first
    `n_attacked` ones PGD and the Square Attack at every eps of `epsilons`.
    """

    epsilons: tuple[Eps, ...] = (0.15, 0.25)
    curve: tuple[Eps, ...] = (0.05, 0.1, 0.15, 0.25, 0.5, 1.0)
    n_attacked: Count = 500
    queries: Count = 500

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name, limit in (("map_images", "n_train"), ("n_attacked", "n_held_out")):
            count, most = getattr(self, name), getattr(self, limit)
            if count > most:
                raise ValueError(f"{name} is {count}; give at most {limit} = {most}")
        return self

    @property
    def label(self) -> str:
        """Dataset, number of images and input scale."""
        return f"{self.dataset}-{self.n_train}-{self.input_scale}"

    @property
    def cost(self) -> float:
        """Images that gradients are computed of; a query costs a third of one."""
        tries = self.pgd_steps * (1 + self.restarts) + self.queries / 3
        attacked = self.n_attacked * len(self.epsilons) * tries
        copies = 4 * 15 * self.map_images * self.map_epochs
        return self.n_train * self.epochs + copies + 5 * attacked

    def run(self) -> "Attacks":
        """Train the five models, perturb the held-out images, judge every model on them."""
        dataset, n, chosen = self.load(), self.n_train, self.map_images
        base, _ = train_base(self, self.seed)
        untrained = self.model(dataset, self.seed + OTHER_WEIGHTS)
        some = dataset.train_images[:chosen], dataset.train_labels[:chosen]
        made = training_sets(base, untrained, *some, self.layer)
        copies = _copies(self, base, made.sets, self.seed)
        models: dict[Model, nn.Sequential] = {"base": base}
        models |= {name: model for name, (model, _) in copies.items()}
        test = dataset.test_images, dataset.test_labels
        held_out = dataset.train_images[n:], dataset.train_labels[n:]
        return Attacks(
            test_accuracy={name: evaluate(model, *test) for name, model in models.items()},
            judgements=tuple(_judgements(self, models, *held_out)),
            chance=_chance(held_out[1]),
            sigma=made.sigma,
            divergences={name: h.divergence for name, (_, h) in copies.items() if h.divergence},
        )


class RobustnessSettings(Settings):
    """Settings of chapter 04."""

    shared: ClassVar = {"n_train": (200, 5000, 50_000)}

    n_held_out: Count = setting(
        500, "images kept from training, to be attacked", smoke=100, paper=10_000
    )
    batch_size: Count = setting(64, "batch size of all training")
    epochs: Count = setting(3, "epochs of the base model", smoke=1, paper=10)
    map_epochs: Count = setting(2, "epochs on the feature maps", smoke=1)
    map_images: Count = setting(
        500, "images whose feature maps are trained on", smoke=10, paper=5000
    )
    layer: str = setting("conv1", "layer whose feature maps become images")
    epsilons: Epsilons = setting((0.15, 0.25), "largest changes of a pixel in the tables, 0 to 1")
    curve: Epsilons = setting(
        (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
        "largest changes of a pixel in the curve, 0 to 1",
        smoke=(0.1, 0.3),
    )
    n_attacked: Count = setting(
        125, "held-out images for PGD and the Square Attack", smoke=20, paper=1000
    )
    pgd_steps: Count = setting(10, "gradients taken on one path of PGD", smoke=4, paper=40)
    pgd_step: Annotated[float, Field(gt=0, le=2)] = setting(
        0.25, "size of a step of PGD, as a share of epsilon", paper=0.1
    )
    restarts: Count = setting(2, "random starts of PGD", paper=10)
    queries: Count = setting(
        200, "outputs that the Square Attack may ask for, per image", smoke=10, paper=5000
    )
    seeds: Count = setting(2, "number of seeds; they are 0, 1, ...", paper=5)

    def images_needed(self) -> int:
        """Training images and held-out images."""
        return self.n_train + self.n_held_out

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name, limit in (("map_images", "n_train"), ("n_attacked", "n_held_out")):
            count, most = getattr(self, name), getattr(self, limit)
            if count > most:
                raise ValueError(f"{name} is {count}, more than {limit} = {most}")
        if self.pgd_steps * self.pgd_step < 1:
            raise ValueError(
                f"pgd_steps x pgd_step is {self.pgd_steps * self.pgd_step:g}; make it at least 1, "
                "or PGD cannot come as far as FGSM"
            )
        return self


class Outcome(Result):
    """How the models fare under one perturbation of n images; accuracies in percent.

    `only_base` and `only_maps` are the images that one of these two models alone gets right.
    """

    perturbation: Perturbation
    eps: float
    n: int
    accuracy: dict[Victim, float]
    only_base: int
    only_maps: int


class Robustness(Result):
    """Everything measured with one seed; accuracies and shares in percent, by model.

    `no_gradient` is the share of held-out images whose gradient is zero in every pixel;
    `chance` is the share of their most frequent class.
    """

    seed: int
    test_accuracy: dict[Victim, float]
    outcomes: tuple[Outcome, ...]
    no_gradient: dict[Victim, float]
    chance: float
    maps_divergence: Divergence | None = None

    def clean_accuracy(self, split: Literal["test", "held_out"], victim: Victim) -> float | None:
        """Accuracy on unchanged images; None for a map model whose training diverged."""
        if split == "held_out":
            return self.accuracy("unchanged", 0.0, victim)
        return None if victim == "maps" and self.maps_divergence else self.test_accuracy[victim]

    def outcome(self, perturbation: Perturbation, eps: float) -> Outcome:
        """What was measured under this perturbation, or ValueError."""
        for found in self.outcomes:
            if (found.perturbation, found.eps) == (perturbation, eps):
                return found
        raise ValueError(f"{perturbation!r} at eps {eps} was not measured")

    def accuracy(self, perturbation: Perturbation, eps: float, victim: Victim) -> float | None:
        """Accuracy of one model; None if it needs a map model whose training diverged."""
        found = self.outcome(perturbation, eps).accuracy[victim]
        needs_maps = "maps" in (victim, perturbation.split()[-1])
        return None if self.maps_divergence and needs_maps else found

    def masking(self, victim: Victim, eps: float) -> dict[SignOfMasking, tuple[float, float]]:
        """Signs that a model hides its gradients (Athalye et al. 2018; Carlini et al. 2019).

        For each sign two numbers in percent: it is seen where the first exceeds the second.
        The first three compare accuracies at eps, the fourth the share of images without a
        gradient with none, the last two the accuracies under FGSM and PGD at eps 1 with
        chance.  Empty for a map model whose training diverged.
        """
        if victim == "maps" and self.maps_divergence:
            return {}

        def under(perturbation: Perturbation, size: float = eps) -> float:
            return self.outcome(perturbation, size).accuracy[victim]

        sources = [s for s in VICTIMS if s != victim and not (s == "maps" and self.maps_divergence)]
        return {
            "iterated": (under("own pgd"), under("own fgsm")),
            "transfer": (under(FGSM_ON[victim]), min(under(FGSM_ON[s]) for s in sources)),
            "gradient-free": (under("own restarts"), under("own squares")),
            "no gradient": (self.no_gradient[victim], 0.0),
            "eps 1": (under(FGSM_ON[victim], 1.0), self.chance),
            "eps 1 iterated": (under("own restarts", 1.0), self.chance),
        }


class Judgement(Result):
    """How the models fare under one perturbation of n images; accuracies in percent.

    `only[one][other]` counts the images that `one` gets right and `other` does not.
    """

    perturbation: Perturbation
    eps: float
    n: int
    accuracy: dict[Model, float]
    only: dict[Model, dict[Model, int]]


class Attacks(Result):
    """Base model and copies under attack; accuracies in percent, by model.

    `chance` is the share of the held-out images' most frequent class; `sigma`, in pixels, is the
    blur of the blurred originals; `divergences` are those of the copies that have one.
    """

    test_accuracy: dict[Model, float]
    judgements: tuple[Judgement, ...]
    chance: float
    sigma: float
    divergences: dict[Model, Divergence]


class Sweep(NamedTuple):
    """A few held-out images under FGSM of growing eps, by either of two models' gradients.

    `images` (count, C, H, W); `signs`, of the same shape, by the model whose gradient it is.
    By that model and the one that judges: `seen` (count, eps), the classes, and `sure`, their
    probabilities.
    """

    images: Tensor
    labels: Tensor
    epsilons: tuple[float, ...]
    signs: dict[Victim, Tensor]
    seen: dict[tuple[Victim, Victim], Tensor]
    sure: dict[tuple[Victim, Victim], Tensor]


class Examples(NamedTuple):
    """A few held-out images and what an attack of equal eps makes of them.

    `images` has shape (kinds, count, C, H, W); `predictions` is (kinds, count) by model.
    `sweep` has the same images.
    """

    kinds: tuple[str, ...]
    images: Tensor
    labels: Tensor
    predictions: dict[Victim, Tensor]
    sweep: Sweep


class Trained(NamedTuple):
    """The three models of one seed and the images that they are judged on."""

    models: dict[Victim, nn.Sequential]
    images: Tensor
    labels: Tensor
    test_accuracy: dict[Victim, float]
    maps_divergence: Divergence | None


def train_base(
    settings: RobustnessSettings | AttackedRun, seed: int
) -> tuple[nn.Sequential, float]:
    """A base model, and its accuracy on the test images."""
    dataset, n = settings.load(), settings.n_train
    base = settings.model(dataset, seed)
    config = settings.train_config(settings.epochs, settings.batch_size, seed)
    fit(base, dataset.train_images[:n], dataset.train_labels[:n], config)
    return base, evaluate(base, dataset.test_images, dataset.test_labels)


def train(settings: RobustnessSettings | AttackedRun, seed: int) -> Trained:
    """Base model, its copy trained on feature maps, and its copy trained on the originals.

    Every original is repeated as often as it has maps, so that both copies see equally many
    images in equally many steps.
    """
    dataset, n, chosen = settings.load(), settings.n_train, settings.map_images
    images, labels = dataset.train_images, dataset.train_labels
    base, clean = train_base(settings, seed)
    sets = map_sets(base, images[:chosen], labels[:chosen], settings.layer)
    copies = _copies(settings, base, sets, seed)
    maps, originals = (copies[name][0] for name in ("maps", "originals"))
    trained: dict[Victim, nn.Sequential] = {"base": base, "maps": maps, "originals": originals}
    test = dataset.test_images, dataset.test_labels
    accuracies: dict[Victim, float] = {"base": clean}
    accuracies |= {name: evaluate(trained[name], *test) for name in VICTIMS[1:]}
    history = copies["maps"][1]
    return Trained(trained, images[n:], labels[n:], accuracies, history.divergence)


def _copies(
    settings: RobustnessSettings | AttackedRun, base: nn.Sequential, sets: Sets, seed: int
) -> dict[Model, tuple[nn.Sequential, History]]:
    """Copies of a base model, each trained further on one of the sets, and how that went."""
    config = settings.train_config(settings.map_epochs, settings.batch_size, seed)
    return {
        name: trained_copy(base, *make(), config, maps=name in FROM_MAPS)
        for name, make in sets.items()
    }


def run(settings: RobustnessSettings) -> tuple[list[Robustness], Examples]:
    """The runs behind Fig. 10, one per seed, and examples from the first."""
    first = train(settings, seed=0)
    others = (measure(train(settings, seed), settings, seed) for seed in range(1, settings.seeds))
    return [measure(first, settings, seed=0), *others], _examples(first, settings, seed=0)


def measure(trained: Trained, settings: RobustnessSettings, seed: int) -> Robustness:
    """Every perturbation of the held-out images, and every model's accuracy on them.

    One step is taken on all of them, at each eps of the tables and of the curve and at 1;
    the released perturbation at eps 0 too, where only its clamp is left.  Attacks of a model
    by itself see the first `n_attacked` images; PGD with restarts is measured at eps 1 too.
    """
    images, labels, signs = trained.images, trained.labels, _signs(trained)
    outcomes = _one_step(trained, signs, settings.epsilons, {*settings.curve, 1.0}, seed)
    few, chosen = images[: settings.n_attacked], labels[: settings.n_attacked]
    for own, attack in _own_attacks(settings, seed).items():
        further = {1.0} if own == "own restarts" else set()
        for eps in sorted({*settings.epsilons, *further}):
            against = {v: attack(m, few, chosen, eps) for v, m in trained.models.items()}
            outcomes.append(_outcome(trained, own, eps, against))
    return _robustness(trained, signs, outcomes, seed)


def _transferred(trained: Trained, settings: RobustnessRun) -> Robustness:
    """One step on all held-out images; PGD with restarts on each model, judged by all."""
    images, labels = (p[: settings.n_attacked] for p in (trained.images, trained.labels))
    signs = _signs(trained)
    outcomes = _one_step(trained, signs, settings.epsilons, set(), settings.seed)
    for source, eps in product(trained.models, settings.epsilons):
        perturbed = attacks.restarted_pgd(
            trained.models[source],
            images,
            labels,
            eps,
            step=settings.pgd_step,
            steps=settings.pgd_steps,
            restarts=settings.restarts,
            seed=settings.seed,
        )
        same = dict.fromkeys(trained.models, perturbed)
        outcomes.append(_outcome(trained, PGD_ON[source], eps, same))
    return _robustness(trained, signs, outcomes, settings.seed)


def _judgements(
    settings: AttacksRun, models: dict[Model, nn.Sequential], images: Tensor, labels: Tensor
) -> Iterator[Judgement]:
    """Every perturbation of an `AttacksRun`, on all images or the first few."""
    few, chosen = images[: settings.n_attacked], labels[: settings.n_attacked]
    signs = {name: attacks.gradient_sign(model, images, labels) for name, model in models.items()}
    judge = partial(_judged, models, labels)
    yield judge("unchanged", 0.0, dict.fromkeys(models, images))
    for eps in settings.curve:
        noisy = attacks.sign_noise(images, eps, settings.seed)
        yield judge("sign noise", eps, dict.fromkeys(models, noisy))
        own = {name: attacks.add_signs(images, sign, eps) for name, sign in signs.items()}
        yield judge("fgsm on base", eps, dict.fromkeys(models, own["base"]))
        yield judge("own fgsm", eps, own)
    against = _own_attacks(settings, settings.seed)
    for kind, eps in product(STRONGEST, settings.epsilons):
        own = {name: against[kind](model, few, chosen, eps) for name, model in models.items()}
        yield judge(kind, eps, own)


def _judged(
    models: dict[Model, nn.Sequential],
    labels: Tensor,
    perturbation: Perturbation,
    eps: float,
    perturbed: dict[Model, Tensor],
) -> Judgement:
    right = _right(models, perturbed, labels)
    return Judgement(
        perturbation=perturbation,
        eps=eps,
        n=len(right["base"]),
        accuracy={name: _percent(mask) for name, mask in right.items()},
        only={
            one: {other: _only(right[one], right[other]) for other in models if other != one}
            for one in models
        },
    )


def _signs(trained: Trained) -> dict[Victim, Tensor]:
    """Signs of the gradients (N, C, H, W) of every model for all held-out images."""
    images, labels = trained.images, trained.labels
    return {v: attacks.gradient_sign(m, images, labels) for v, m in trained.models.items()}


def _one_step(
    trained: Trained,
    signs: dict[Victim, Tensor],
    epsilons: tuple[float, ...],
    curve: set[float],
    seed: int,
) -> list[Outcome]:
    """Every perturbation that takes one step, or none, of all held-out images.

    The released one at eps 0 too, the others on the curve too.
    """
    images = trained.images
    perturb: dict[Shared, Callable[[float], Tensor]] = {
        "released": partial(attacks.add_signs_as_released, images, signs["base"]),
        "sign noise": partial(attacks.sign_noise, images, seed=seed),
    }
    perturb |= {FGSM_ON[v]: partial(attacks.add_signs, images, sign) for v, sign in signs.items()}
    outcomes = [_outcome(trained, "unchanged", 0.0, dict.fromkeys(trained.models, images))]
    for shared, perturbed_by in perturb.items():
        further = {0.0} if shared == "released" else curve
        for eps in sorted({*epsilons, *further}):
            same = dict.fromkeys(trained.models, perturbed_by(eps))
            outcomes.append(_outcome(trained, shared, eps, same))
    return outcomes


def _robustness(
    trained: Trained, signs: dict[Victim, Tensor], outcomes: list[Outcome], seed: int
) -> Robustness:
    labels = trained.labels
    return Robustness(
        seed=seed,
        test_accuracy=trained.test_accuracy,
        outcomes=tuple(outcomes),
        no_gradient={name: _percent((sign == 0).flatten(1).all(1)) for name, sign in signs.items()},
        chance=_chance(labels),
        maps_divergence=trained.maps_divergence,
    )


def _own_attacks(
    settings: RobustnessSettings | AttacksRun, seed: int
) -> dict[Own, Callable[[nn.Module, Tensor, Tensor, float], Tensor]]:
    """Attacks by what a model itself gives away: functions of model, images, labels and eps."""
    path = partial(attacks.pgd, step=settings.pgd_step, steps=settings.pgd_steps)
    return {
        "own fgsm": attacks.fgsm,
        "own pgd": path,
        "own restarts": partial(
            attacks.restarted_pgd, **path.keywords, restarts=settings.restarts, seed=seed
        ),
        "own squares": partial(attacks.square_attack, queries=settings.queries, seed=seed),
    }


def _outcome(
    trained: Trained, perturbation: Perturbation, eps: float, perturbed: Mapping[Victim, Tensor]
) -> Outcome:
    """Judge each model on its images, which are the first held-out ones."""
    right = _right(trained.models, perturbed, trained.labels)
    return Outcome(
        perturbation=perturbation,
        eps=eps,
        n=len(right["base"]),
        accuracy={victim: _percent(mask) for victim, mask in right.items()},
        only_base=_only(right["base"], right["maps"]),
        only_maps=_only(right["maps"], right["base"]),
    )


def _right(
    models: Mapping[Name, nn.Module], perturbed: Mapping[Name, Tensor], labels: Tensor
) -> dict[Name, Tensor]:
    """Which of its images, the first ones with labels (N,), each model gets right: masks (n,)."""
    return {
        name: predict(model, perturbed[name]) == labels[: len(perturbed[name])]
        for name, model in models.items()
    }


def _only(one: Tensor, other: Tensor) -> int:
    """How many images one model gets right and another does not, by their masks (N,)."""
    return int((one & ~other).sum())


def _chance(labels: Tensor) -> float:
    """Share of the most frequent class of labels (N,), in percent."""
    return 100 * labels.bincount().max().item() / len(labels)


def _percent(mask: Tensor) -> float:
    """Share of what is true in a mask (N,), in percent."""
    return 100 * mask.sum().item() / len(mask)


def _examples(
    trained: Trained, settings: RobustnessSettings, seed: int, count: int = 8
) -> Examples:
    """The first held-out images: unchanged, and under every kind of perturbation."""
    images, labels, eps = trained.images[:count], trained.labels[:count], max(settings.epsilons)
    base, maps = trained.models["base"], trained.models["maps"]
    squares = _own_attacks(settings, seed)["own squares"]
    rows = {
        "unchanged": images,
        "sign noise": attacks.sign_noise(images, eps, seed),
        "FGSM by base model": attacks.fgsm(base, images, labels, eps),
        "FGSM by map model": attacks.fgsm(maps, images, labels, eps),
        "Square Attack on base model": squares(base, images, labels, eps),
        "as released": attacks.released_perturbation(base, images, labels, eps),
    }
    stacked = torch.stack(list(rows.values()))  # (kinds, count, C, H, W)
    flat = stacked.flatten(0, 1)
    victims: tuple[Victim, ...] = ("base", "maps")
    predictions = {
        victim: predict(trained.models[victim], flat).reshape(len(rows), -1) for victim in victims
    }
    steps = sweep(trained, images, labels, max(settings.curve))
    return Examples(tuple(rows), stacked, labels, predictions, steps)


SWEEP_STEPS = 30


def sweep(trained: Trained, images: Tensor, labels: Tensor, largest: float) -> Sweep:
    """What base and map model see in images (N, C, H, W) from eps 0 to the largest one."""
    pair: tuple[Victim, ...] = ("base", "maps")
    epsilons = tuple(round(largest * k / SWEEP_STEPS, 6) for k in range(SWEEP_STEPS + 1))
    models = {name: trained.models[name] for name in pair}
    signs = {name: attacks.gradient_sign(m, images, labels) for name, m in models.items()}
    seen, sure = {}, {}
    for source, sign in signs.items():
        perturbed = torch.stack([attacks.add_signs(images, sign, eps) for eps in epsilons], dim=1)
        for judge, model in models.items():
            found = _probabilities(model, perturbed.flatten(0, 1)).max(dim=1)
            seen[source, judge] = found.indices.reshape(perturbed.shape[:2])  # (N, eps)
            sure[source, judge] = found.values.reshape(perturbed.shape[:2])
    return Sweep(images, labels, epsilons, signs, seen, sure)


@torch.no_grad()
def _probabilities(model: nn.Module, images: Tensor) -> Tensor:
    """Probabilities (N, classes) that a model gives images (N, C, H, W)."""
    with evaluating(model):
        return torch.cat([model(part).exp() for part in images.split(chunk_size(images))])
