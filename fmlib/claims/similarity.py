"""Claims of belmekki2024: dissimilar kernels, dissimilar maps, and what they are good for."""

from fmlib.claims.judging import CONTROLLED, SLIGHT, Claim, Found, Measured, Recorded, negative
from fmlib.evidence.similarity import EARLY, LATE
from fmlib.experiments.similarity import FEWER, RESNET_CONDITIONS, RESNET_WIDTHS
from fmlib.stats import Estimate, paired
from fmlib.verdicts import Verdict, beyond, holds, in_all, in_any

NETWORKS = {"base_cnn": "CNN1", "compact_cnn": "CNN2"}


def _numbers(recorded: Recorded, quantity: str, **chosen: object) -> dict[int, float]:
    """One number per seed, of trainings as in most runs unless chosen otherwise."""
    usual = {"steps": "sgd", "iterations": 500, "width": 1.0}
    return recorded.by_seed(recorded.similarity, "value", quantity=quantity, **{**usual, **chosen})


def _gain(
    recorded: Recorded, quantity: str, network: str, first: str, second: str, **chosen: object
) -> Estimate | None:
    numbers = (
        _numbers(recorded, quantity, network=network, condition=condition, **chosen)
        for condition in (first, second)
    )
    return paired(*numbers)


def _orthogonal(recorded: Recorded) -> Found:
    measured, verdicts = [], []
    for network, name in NETWORKS.items():
        effect = _gain(recorded, "begun maps", network, "orthogonal", "baseline")
        kernels = _gain(recorded, "begun kernel_cosine", network, "orthogonal", "baseline")
        verdicts.append(holds(effect))
        text = f"{name}, orthogonal − as drawn"
        measured += [
            Measured(f"mean absolute cosine of maps before training: {text}", effect, form="+.3f"),
            Measured(
                f"mean squared cosine of kernels: {text}", kernels, role="context", form="+.4f"
            ),
        ]
    return in_all(verdicts), measured


def _less_alike(recorded: Recorded) -> Found:
    measured, verdicts = [], []
    for network, name in NETWORKS.items():
        effect, control, complete, after = (
            negative(_gain(recorded, f"begun {of}", network, first, second))
            for of, first, second in (
                ("maps", "initialized", "baseline"), ("maps", "initialized", "shrunk"),
                ("maps", "complete", "baseline"), ("activations", "initialized", "shrunk"),
            )
        )  # fmt: skip
        verdicts.append(beyond(effect, control))
        quantity = f"mean absolute cosine of maps before training, {name}"
        measured += [
            Measured(f"{quantity}: as drawn − I = 500", effect, form="+.3f"),
            Measured(f"{quantity}: shrunk − I = 500", control, role="control", form="+.3f"),
            Measured(
                f"{quantity}: as drawn − all pairs, norms kept",
                complete,
                role="context",
                form="+.3f",
            ),
            Measured(
                f"{quantity}, after ReLU: shrunk − I = 500", after, role="context", form="+.3f"
            ),
        ]
    return in_all(verdicts), measured


def _accuracy(recorded: Recorded, quantity: str = "accuracy", when: str = "") -> Found:
    measured, verdicts = [], []
    for network, name in NETWORKS.items():
        effect, control, restored, complete = (
            _gain(recorded, quantity, network, first, second)
            for first, second in (
                ("initialized", "baseline"), ("initialized", "shrunk"),
                ("restored", "baseline"), ("complete", "baseline"),
            )
        )  # fmt: skip
        verdicts.append(beyond(effect, control))
        text = f"test accuracy{when}, {name} (points)"
        measured += [
            Measured(f"{text}: I = 500 − baseline", effect),
            Measured(f"{text}: I = 500 − shrunk", control, role="control"),
            Measured(f"{text}: I = 500 with norms restored − baseline", restored, role="context"),
            Measured(f"{text}: all pairs, norms kept − baseline", complete, role="context"),
        ]
    return in_all(verdicts), measured


def _faster(recorded: Recorded) -> Found:
    return _accuracy(recorded, "early", f" after {EARLY} epochs")


def _regularizer(recorded: Recorded) -> Found:
    measured, verdicts = [], []
    for network, name in NETWORKS.items():
        weak, strong, control = (
            _gain(recorded, "accuracy", network, first, second)
            for first, second in (
                ("regularized", "baseline"), ("strong", "baseline"), ("strong", "decay"),
            )
        )  # fmt: skip
        verdicts.append(in_any([holds(weak), beyond(strong, control)]))
        text = f"test accuracy, {name} (points)"
        measured += [
            Measured(f"{text}: β = 0.001 − baseline", weak),
            Measured(f"{text}: β = 0.1 − baseline", strong),
            Measured(f"{text}: β = 0.1 − weight decay", control, role="control"),
        ]
    return in_all(verdicts), measured


def _smaller(recorded: Recorded) -> Found:
    whole = _numbers(recorded, "accuracy", network="compact_cnn", condition="baseline")
    measured, verdicts = [], []
    for width in FEWER:
        small = {"network": "compact_cnn", "width": width}
        own, plain, complete = (
            _numbers(recorded, "accuracy", condition=condition, **small)
            for condition in ("initialized", "baseline", "complete")
        )
        effect, control = paired(own, whole), paired(own, plain)
        verdicts.append(beyond(effect, control, -SLIGHT))
        text = f"test accuracy, {width:g} of the maps with I = 500 (points)"
        measured += [
            Measured(f"{text} − whole network", effect),
            Measured(f"{text} − as small a network without", control, role="control"),
            Measured(
                f"test accuracy, {width:g} of the maps with all pairs, norms kept (points) − as "
                "small a network without",
                paired(complete, plain),
                role="context",
            ),
        ]
    return in_any(verdicts), measured


def _momentum(recorded: Recorded) -> Found:
    def gains(quantity: str, steps: str) -> dict[int, float]:
        own, base = (
            _numbers(recorded, quantity, network="base_cnn", condition=condition, steps=steps)
            for condition in ("initialized", "baseline")
        )
        return {seed: own[seed] - base[seed] for seed in own.keys() & base.keys()}

    effect, early = (
        paired(gains(quantity, "sgd"), gains(quantity, "momentum"))
        for quantity in ("accuracy", "early")
    )
    text = "gain of I = 500 without momentum − with it (points)"
    measured = [
        Measured(text, effect),
        Measured(f"{text}, after {EARLY} epochs", early, role="context"),
        *(
            Measured(
                f"test accuracy, I = 500 − baseline (points), {name}",
                _gain(recorded, "accuracy", "base_cnn", "initialized", "baseline", steps=steps),
                role="context",
            )
            for steps, name in (
                ("sgd", "no momentum"), ("momentum", "momentum 0.9"), ("adam", "Adam"),
            )
        ),
    ]  # fmt: skip
    return holds(effect), measured


def _resnet(recorded: Recorded) -> Found:
    measured, verdicts = [], []
    for width in RESNET_WIDTHS:
        end, late = (
            {
                condition: recorded.by_seed(
                    recorded.resnet, "value", quantity=quantity, condition=condition, width=width
                )
                for condition in RESNET_CONDITIONS
            }
            for quantity in ("accuracy", "late")
        )
        effect = paired(end["initialized"], end["baseline"])
        control = paired(end["initialized"], end["shrunk"])
        verdicts.append(beyond(effect, control))
        text = f"test accuracy of ResNet18, width {width} (points): I = 500"
        measured += [
            Measured(f"{text} − baseline", effect),
            Measured(f"{text} − shrunk", control, role="control"),
            *(
                Measured(
                    f"{text} − {name}, mean of the last {LATE} epochs",
                    paired(late["initialized"], late[name]),
                    role="context",
                )
                for name in ("baseline", "shrunk")
            ),
        ]
    return in_all(verdicts), measured


_CHAPTER = "convolutional_similarity"

CLAIMS = (
    Claim(
        id="orthogonal-kernels",
        words="Orthogonal kernels do not make feature maps less alike.",
        measure="mean absolute cosine of maps, orthogonal − as drawn",
        where="belmekki2024, abstract",
        chapter=_CHAPTER,
        target="tab-measures",
        rule="Before training, the maps of orthogonal kernels are not less alike than those of "
        "kernels as drawn: the interval of the difference lies above zero in both networks.",
        judge=_orthogonal,
        verdict=Verdict.PARTLY,
        text="In CNN1 the maps of orthogonal kernels are even a little more alike than those of "
        "kernels as drawn; in CNN2 the seeds disagree. Random kernels are nearly orthogonal to "
        "begin with. After training with an orthogonality regularizer CNN1's maps are less alike "
        "before ReLU, which speaks against the claim, and a little more alike after it. That "
        "orthogonal kernels can have similar maps is a matter of proof; the chapter has an "
        "example.",
    ),
    Claim(
        id="less-alike",
        words="Minimizing Convolutional Similarity makes feature maps less alike, whatever the "
        "input.",
        measure="mean absolute cosine of maps, as drawn − I = 500; control: shrunk alike",
        where="belmekki2024, abstract",
        chapter=_CHAPTER,
        target="tab-measures",
        rule=CONTROLLED.format("weights as drawn", "weights shrunk to the same norms")
        + " Reproduced if so in both networks.",
        judge=_less_alike,
        verdict=Verdict.NOT_REPRODUCED,
        text="The released form lowers its loss some thousandfold, and in CNN1 the maps become "
        "more alike: kernels shrink, and the bias has more to say in what a map shows. After ReLU "
        "their mean cosine falls, as that of weights only shrunk does, since dead maps count as 0. "
        "In CNN2 the difference is open. Only neighbours are compared, and each channel only with "
        "itself. The form that compares all pairs of kernels and of channels, at fixed "
        "norms, halves the cosine of maps before ReLU in both networks; after it they are more "
        "alike in CNN1 and hardly less in CNN2.",
    ),
    Claim(
        id="similarity-accuracy",
        words="As an initialization, minimizing it raises the accuracy of shallow networks.",
        measure="points of test accuracy, I = 500 − baseline; control: shrunk alike",
        where="belmekki2024, abstract",
        chapter=_CHAPTER,
        target="fig-gains-recorded",
        rule=CONTROLLED.format("the baseline", "weights shrunk to the same norms")
        + " Reproduced if so in both networks.",
        judge=_accuracy,
        verdict=Verdict.NOT_REPRODUCED,
        text="In CNN1 the initialized network ends lower, and so do weights that are only "
        "shrunk. In CNN2, whose batch normalization makes up for small kernels, the "
        "difference is open. With the norms restored the network ends about where the "
        "baseline does. All pairs at fixed norms, which is not the released form, add two points "
        "in CNN2, with an interval that contains zero after the last epoch and does not as a mean "
        "of the last three.",
    ),
    Claim(
        id="similarity-regularizer",
        words="As a regularizer, too, it raises their accuracy.",
        measure="points of test accuracy, β − baseline; control: weight decay to the same norm",
        where="belmekki2024, abstract",
        chapter=_CHAPTER,
        target="fig-gains-recorded",
        rule="The interval of the difference from the baseline lies above zero at β = 0.001, or at "
        "β = 0.1 and then above weight decay to the same norms too. Reproduced if so in both "
        "networks.",
        judge=_regularizer,
        verdict=Verdict.INCONCLUSIVE,
        text="At the paper's β nothing can be told from the baseline. At β = 0.1 CNN1 ends "
        "lower, about as much as with weight decay to the same norms; in CNN2 it ends above "
        "weight decay, but cannot be told from the baseline.",
    ),
    Claim(
        id="similarity-convergence",
        words="Minimizing it before training speeds convergence.",
        measure=f"points of test accuracy after {EARLY} epochs, I = 500 − baseline; control: "
        "shrunk alike",
        where="belmekki2024, abstract",
        chapter=_CHAPTER,
        target="fig-training-recorded",
        rule=CONTROLLED.format("the baseline", "weights shrunk to the same norms")
        + " Reproduced if so in both networks.",
        judge=_faster,
        verdict=Verdict.NOT_REPRODUCED,
        text="In CNN1 the initialized network is far behind after two epochs, and so are weights "
        "that are only shrunk: small kernels pass small gradients on. In CNN2 the "
        "difference is open.",
    ),
    Claim(
        id="smaller-models",
        words="With it, significantly smaller models reach the same performance.",
        measure="points of test accuracy, fewer maps with I = 500 − whole network without",
        where="belmekki2024, abstract",
        chapter=_CHAPTER,
        target="fig-smaller-recorded",
        rule="With a quarter or half of the maps and I = 500 the accuracy is at most a point below "
        "that of the whole network without; only partly unless it also exceeds that of as small a "
        "network without.",
        judge=_smaller,
        verdict=Verdict.INCONCLUSIVE,
        text="With a quarter of the maps the network is behind the whole one, initialized or "
        "not. With half of them the seeds differ by more than the claim is about. The form that "
        "compares all pairs, which is not the released one, does make small networks better, by "
        "one to three points with every seed.",
    ),
    Claim(
        id="similarity-momentum",
        words="The initialization is hard to combine with momentum.",
        measure="points of gain, without momentum − with it",
        where="belmekki2024, conclusion",
        chapter=_CHAPTER,
        target="fig-smaller-recorded",
        rule="What the initialization adds to the accuracy is more without momentum than with it.",
        judge=_momentum,
        verdict=Verdict.INCONCLUSIVE,
        text="In CNN1 the initialization takes about as much away with momentum as without by the "
        "end, and more of it after two epochs, which speaks for the claim. There is no gain here "
        "that momentum could spoil. ResNet18 does gain, and is trained with momentum; without it "
        "was not run.",
    ),
    Claim(
        id="similarity-resnet",
        words="ResNet18, too, gains from it.",
        measure="points of test accuracy, I = 500 − baseline; control: shrunk alike",
        where="belmekki2024, Fig. 4",
        chapter=_CHAPTER,
        target="tab-resnet",
        rule=CONTROLLED.format("the baseline", "weights shrunk to the same norms")
        + " Reproduced if so at both widths.",
        judge=_resnet,
        verdict=Verdict.PARTLY,
        text="At both widths the initialized network ends about two points higher, with every "
        "seed, though it learns no sooner. Partly, since small kernels alone bring about half of "
        "it or more, by the measure: weights that are only shrunk train with nearly the same "
        "losses, and what the initialization adds beyond them after the last epoch is within the "
        "spread of the seeds. At width 8 the maps were no less alike before training.",
    ),
)
