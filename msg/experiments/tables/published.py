"""Figures that others published, for the tables that show them beside ours. They were not measured here."""

from msg.experiments.tables.table import Published


def _figures(datasets: str, lines: str) -> dict[str, dict[str, str]]:
    """By label and dataset, from a line a label: ``label | figure | figure``."""
    found = {}
    for line in lines.strip().splitlines():
        label, *figures = (part.strip() for part in line.split("|"))
        found[label] = {name: figure for name, figure in zip(datasets.split(), figures, strict=True) if figure != "–"}
    return found


MSG_NODES = Published(
    "Sun et al. 2024, Spiking Graph Neural Network on Riemannian Manifolds (arXiv 2410.17941), table 1",
    _figures(
        "computers photo cs physics",
        """
        GCN             | 83.55 ± 0.71 | 86.01 ± 0.20 | 91.68 ± 0.84 | 95.03 ± 0.19
        GAT             | 86.82 ± 0.04 | 86.68 ± 1.32 | 91.74 ± 0.22 | 95.11 ± 0.29
        SGC             | 82.17 ± 1.25 | 87.91 ± 0.65 | 92.09 ± 0.05 | 94.77 ± 0.32
        SAGE            | 81.69 ± 0.86 | 89.41 ± 1.28 | 92.71 ± 0.73 | 95.62 ± 0.26
        HGCN            | 88.71 ± 0.24 | 89.18 ± 0.50 | 90.72 ± 0.16 | 94.46 ± 0.20
        κ-GCN           | 89.20 ± 0.50 | 92.22 ± 0.62 | 91.98 ± 0.15 | 95.85 ± 0.20
        Q-GCN           | 85.94 ± 0.93 | 92.50 ± 0.95 | 91.18 ± 0.28 | 94.84 ± 0.25
        HyboNet         | 86.29 ± 2.30 | 92.67 ± 0.09 | 92.34 ± 0.03 | 95.56 ± 0.18
        SpikeNet        | 88.00 ± 0.70 | 92.90 ± 0.10 | 92.15 ± 0.18 | 92.66 ± 0.30
        SpikingGCN      | 86.90 ± 0.30 | 92.60 ± 0.70 | 90.86 ± 0.11 | 94.53 ± 0.18
        SpikeGCL        | 89.04 ± 0.08 | 92.50 ± 0.17 | 91.77 ± 0.11 | 95.21 ± 0.10
        SpikeGraphormer | 81.00 ± 1.06 | 90.66 ± 0.38 | 91.86 ± 0.61 | 94.38 ± 1.57
        MSG             | 89.27 ± 0.19 | 93.11 ± 0.11 | 92.65 ± 0.04 | 95.93 ± 0.07
        """,
    ),
)

MSG_LINKS = Published(
    "Sun et al. 2024 (arXiv 2410.17941), table 1, ROC-AUC; its split shares reversed edges and negatives between "
    "training and test, so these do not compare with a split that does not",
    _figures(
        "computers photo cs physics",
        """
        GCN        | 92.07 ± 0.40 | 88.84 ± 0.39 | 93.68 ± 0.84 | 93.46 ± 0.39
        GAT        | 91.91 ± 1.08 | 88.45 ± 0.07 | 94.06 ± 0.70 | 93.44 ± 0.70
        SGC        | 90.46 ± 0.80 | 89.84 ± 0.40 | 95.94 ± 0.43 | 95.93 ± 0.70
        SAGE       | 90.56 ± 0.48 | 89.86 ± 0.90 | 95.22 ± 0.14 | 95.75 ± 0.37
        HGCN       | 96.88 ± 0.53 | 94.54 ± 0.20 | 93.02 ± 0.26 | 94.10 ± 0.64
        κ-GCN      | 95.30 ± 0.20 | 94.89 ± 0.15 | 94.86 ± 0.18 | 94.58 ± 0.22
        Q-GCN      | 96.98 ± 0.05 | 97.47 ± 0.03 | 93.39 ± 0.20 | –
        HyboNet    | 96.80 ± 0.05 | 97.70 ± 0.07 | 95.65 ± 0.26 | 98.46 ± 0.49
        SpikingGCN | 91.12 ± 1.79 | 93.84 ± 0.03 | 95.07 ± 1.22 | 92.88 ± 0.80
        SpikeGCL   | 92.72 ± 0.03 | 95.58 ± 0.11 | 95.13 ± 0.24 | 94.15 ± 0.29
        MSG        | 94.65 ± 0.73 | 96.75 ± 0.18 | 95.19 ± 0.15 | 93.43 ± 0.16
        """,
    ),
)

SPIKEGCL = Published(
    "Li et al. 2024, A Graph is Worth 1-bit Spikes (arXiv 2305.19306), the same split",
    _figures(
        "computers photo cs physics",
        """
        GCN        | 86.5 | 92.4 | 92.5 | 95.7
        SpikeNet   | 88.0 | 92.9 | 93.4 | 95.8
        SpikingGCN | 86.9 | 92.6 | 92.6 | 94.3
        GC-SNN     | 88.2 | 92.8 | 93.0 | 95.6
        GA-SNN     | 88.1 | 93.5 | 92.2 | 95.8
        SpikeGCL   | 88.9 | 93.0 | 92.8 | 95.2
        """,
    ),
)

SGNNBENCH = Published(
    "Zhang et al. 2025, SGNNBench (arXiv 2509.21342). Its GCN, SAGE and GAT rows equal, to the digit, those "
    "of Luo et al. 2024, Classic GNNs are Strong Baselines (arXiv 2406.08993), which were tuned; its spiking rows "
    "have default settings",
    _figures(
        "cora citeseer pubmed computers photo cs physics",
        """
        GCN             | 85.10 | 73.14 | 81.12 | 93.99 | 96.10 | 96.17 | 97.46
        SAGE            | 83.88 | 72.26 | 79.72 | 93.25 | 96.78 | 96.38 | 97.19
        GAT             | 84.46 | 72.22 | 80.28 | 94.09 | 96.60 | 96.21 | 97.25
        SpikingGCN      | 74.40 | 63.20 | 74.03 | 85.64 | 92.18 | 91.71 | 95.30
        GC-SNN          | 80.0 | 67.2 | 77.4 | 91.0 | 92.8 | 93.7 | 96.7
        GA-SNN          | 76.9 | 64.8 | 76.1 | 88.2 | 92.6 | 90.3 | 95.5
        SpikeNet        | 77.90 | 64.82 | 75.30 | 89.62 | 94.42 | 95.05 | 96.99
        SiGNN           | 77.94 | 65.93 | 75.47 | 90.61 | 94.73 | 95.27 | 96.99
        SpikeGCL        | 80.43 | 66.70 | 79.40 | 91.36 | 93.75 | 93.25 | 95.63
        SpikeGraphormer | 82.43 | 69.97 | 76.24 | 87.61 | 93.70 | 93.56 | 96.51
        MSG             | 76.30 | 69.40 | 74.35 | 87.32 | 93.86 | 94.12 | 96.67
        """,
    ),
)
