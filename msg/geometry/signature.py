"""Which manifold fits a graph: what is measured of it, how well it embeds, what follows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import t as student
from torch_geometric.data import Data

from msg.geometry.curvature import forman_curvature, ollivier_of, sectional_of
from msg.geometry.embedding import embed
from msg.geometry.estimate import Estimate
from msg.geometry.hyperbolicity import Hyperbolicity, hyperbolicity_of
from msg.geometry.metric import Component, generators
from msg.manifolds import parse_signature
from msg.models import MSG
from msg.report.tables import render
from msg.training import Budget, NodeClassification, draw_split, fit

_SHARE, _POINTS = 0.2, 0.005
"""What a curved space must gain at least, of the flat distortion or in the metric: less is no reason to leave flat
space, whatever its error. A grid, which is flat, gains a tenth on a sphere.
"""

_TRIANGLES, _QUADRUPLES, _EDGES, _MAX_DEGREE = 20_000, 20_000, 50, 64


@dataclass(frozen=True)
class Score:
    """How a signature did.

    Attributes:
        signature: such as ``"H4xS4"``.
        distortion: mean relative distortion of quick embeddings.
        curvatures: of the factors, means over repeats, in units of one edge: -1 / edge².
        validation: metric of short trainings; ``None`` where none were asked for.
    """

    signature: str
    distortion: Estimate
    curvatures: tuple[float, ...]
    validation: Estimate | None = None


@dataclass(frozen=True)
class Verdict:
    """What :func:`choose_signature` found; its text is a report.

    Attributes:
        signature: that of the best space; the flat one where that is as good.
        flat_is_as_good: whether no curved space is better beyond doubt and worth mentioning.
        gain: by how much the best curved space is ahead of flat space, in what ``judged_by`` names, paired by repeats.
        judged_by: ``"distortion"`` or ``"validation"``.
        scores: of all signatures, best first.
        hyperbolicity: of quadruples.
        sectional: mean sectional curvature.
        forman: mean over all edges, with the standard deviation among them in place of an error.
        ollivier: mean Ollivier–Ricci curvature.
        nodes: of the largest connected part, where distances are measured.
        share: of all nodes that are in it.
    """

    signature: str
    flat_is_as_good: bool
    gain: Estimate
    judged_by: str
    scores: tuple[Score, ...]
    hyperbolicity: Hyperbolicity
    sectional: Estimate
    forman: Estimate
    ollivier: Estimate
    nodes: int
    share: float

    @property
    def reason(self) -> str:
        """The verdict in a sentence."""
        curved = next(score.signature for score in self.scores if not _is_flat(score.signature))
        told = f"{self.judged_by}, {curved} against flat space: gain {self.gain}"
        if self.flat_is_as_good:
            return f"flat space is as good ({told}): use {self.signature}"
        return f"{self.signature} is better than flat space ({told})"

    def __str__(self) -> str:
        hyperbolic = self.hyperbolicity
        measures = [
            ("Gromov's δ, mean", str(hyperbolic.mean), "0 in a tree"),
            ("2δ/diameter, largest seen", f"{hyperbolic.relative:.3f}", "0 in a tree, at most 1"),
            ("sectional curvature", str(self.sectional), "below 0 in a tree, above in a cycle"),
            ("Ollivier–Ricci curvature", str(self.ollivier), "below 0 in a tree, 0 in a grid"),
            ("Forman curvature", f"{self.forman.mean:.1f} (spread {self.forman.error:.1f})", "falls with degrees"),
        ]
        first = [{"measure": name, "value": value, "known": known} for name, value, known in measures]
        second = [
            {
                "signature": score.signature,
                "distortion": str(score.distortion),
                "curvature, 1/edge²": ", ".join(f"{value:.3g}" for value in score.curvatures),
                **({} if score.validation is None else {"validation": str(score.validation)}),
            }
            for score in self.scores
        ]
        part = f"largest connected part: {self.nodes:,} nodes, {self.share:.0%} of all"
        return f"{part}\n\n{render(first)}\n\n{render(second)}\n\n{self.reason}"


def default_signatures(dim: int) -> tuple[str, ...]:
    """E, H, S and their products of two factors, all of the same dimension.

    Raises:
        ValueError: for one that is not even, or less than two.
    """
    if dim < 2 or dim % 2:
        raise ValueError(f"dim must be even and at least 2, so that products have factors of the same size, not {dim}")
    half = dim // 2
    return (f"E{dim}", f"H{dim}", f"S{dim}", f"H{half}xS{half}", f"H{half}xH{half}", f"S{half}xS{half}")


def choose_signature(
    data: Data,
    signatures: Sequence[str] | None = None,
    dim: int = 8,
    epochs: int = 0,
    num_nodes: int = 80,
    repeats: int = 5,
    seed: int = 0,
) -> Verdict:
    r"""Measure a graph, embed it in each space, and say which fits, or that flat space is as good.

    Each repeat draws nodes of the largest connected part and embeds them in every space
    (:func:`~msg.geometry.embed`), so that spaces are compared on the same nodes. With ``epochs`` a
    :class:`~msg.models.MSG` on each space is trained so long with a seed a repeat, and the validation metric decides in
    place of the distortion. A curved space is chosen if its gain on flat space is larger than the half-width of its
    95 % interval over repeats (Student's t of paired differences), and than a fifth of the flat distortion, or 0.005 in
    the metric. It is the best of several: a gain close to that line may be luck.

    Distortion asks whether distances fit, not whether a model learns better: on many benchmarks it does not, so ask for
    a validation before a curved space costs more.

    Args:
        data: with ``edge_index``; for ``epochs`` as :func:`msg.datasets.load_graph` gives it.
        signatures: candidates, one of them flat; ``None``: E, H, S and products of two, all of dimension ``dim``.
        dim: of the default candidates. Small ones tell spaces apart: of many dimensions any space has enough.
        epochs: of the trainings; 0: none.
        num_nodes: drawn in each repeat, whose pairs are embedded.
        repeats: at least two, for an error.
        seed: of everything that is drawn.

    Raises:
        ValueError: for signatures that do not parse or none that is flat or curved, a graph that is too small, fewer
            repeats than two, or data without what a training needs.
        FloatingPointError: if a training diverges.
    """
    names = tuple(default_signatures(dim) if signatures is None else signatures)
    for name in names:
        parse_signature(name)
    if not any(map(_is_flat, names)) or all(map(_is_flat, names)):
        raise ValueError(
            f"signatures must have a flat one to compare with, such as 'E8', and a curved one, not {names}"
        )
    if repeats < 2 or epochs < 0 or num_nodes < 4:
        raise ValueError(
            "repeats must be at least 2, epochs at least 0 and num_nodes at least 4, not "
            f"{repeats}, {epochs} and {num_nodes}"
        )
    edges = data["edge_index"]
    part = Component(edges, data.num_nodes)
    found = {name: ([], []) for name in names}
    hyperbolicity = hyperbolicity_of(part, _QUADRUPLES, repeats, seed)
    for random in generators(seed, repeats):
        nodes = part.draw(num_nodes, random)
        hops = part.hops(nodes)[:, nodes]
        for name in names:
            embedding = embed(hops, name)
            found[name][0].append(embedding.distortion)
            found[name][1].append(embedding.curvatures)
    scores = [
        Score(
            name,
            Estimate.of(distortions),
            tuple(torch.tensor(curvatures, dtype=torch.float64).mean(0).tolist()),
            _validated(data, name, epochs, repeats, seed) if epochs else None,
        )
        for name, (distortions, curvatures) in found.items()
    ]
    forman = forman_curvature(edges, data.num_nodes)
    forman = forman[forman.isfinite()]
    return _judged(
        scores,
        hyperbolicity=hyperbolicity,
        sectional=sectional_of(part, _TRIANGLES, repeats, seed),
        forman=Estimate(float(forman.mean()), float(forman.std(correction=0)), ()),
        ollivier=ollivier_of(part.adjacency, _EDGES, repeats, 0.0, _MAX_DEGREE, seed),
        nodes=len(part),
        share=part.share,
    )


def _judged(scores: list[Score], **measured: object) -> Verdict:
    """The best first, and whether it is worth leaving flat space."""
    by = "distortion" if scores[0].validation is None else "validation"

    def cost(score: Score) -> tuple[float, ...]:
        """Per repeat, less is better."""
        return score.distortion.values if score.validation is None else tuple(-v for v in score.validation.values)

    ranked = sorted(scores, key=lambda score: math.fsum(cost(score)))
    flat = next(score for score in ranked if _is_flat(score.signature))
    best = next(score for score in ranked if not _is_flat(score.signature))
    gain = Estimate.of([before - after for before, after in zip(cost(flat), cost(best))])
    width = float(student.ppf(0.975, len(gain.values) - 1)) * gain.error
    worth = _SHARE * flat.distortion.mean if flat.validation is None else _POINTS
    even = not gain.mean > max(width, worth)
    chosen = flat.signature if even else best.signature
    return Verdict(chosen, even, gain, by, tuple(ranked), **measured)  # pyright: ignore[reportArgumentType]


def _is_flat(signature: str) -> bool:
    return all(factor.startswith("E") for factor in signature.replace("×", "x").split("x"))


def _validated(data: Data, signature: str, epochs: int, repeats: int, seed: int) -> Estimate:
    """Validation metrics of short trainings, a seed a repeat; torch's generator is left as it was."""
    missing = [name for name in ("x", "y", "train_mask", "val_mask", "test_mask", "split") if name not in data]
    if missing:
        raise ValueError(f"a training needs {', '.join(missing)}: give data as load_graph does, or epochs=0")
    values = []
    with torch.random.fork_rng(devices=[]):
        for number in range(seed, seed + repeats):
            task = NodeClassification(draw_split(data, number))
            torch.manual_seed(number)
            model = MSG(data.num_features, int(data["y"].max()) + 1, manifold=signature)
            values.append(fit(model, task, Budget(epochs=epochs)).val.metric)
    return Estimate.of(values)
