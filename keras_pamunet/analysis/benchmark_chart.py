"""The picture of a benchmark."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_pamunet.files import written_aside


def write_benchmark_chart(result: Mapping[str, Any], path: str | Path) -> None:
    """Draws latency, memory and size of each model as bars.

    Args:
        result: see `keras_pamunet.benchmarking.benchmark`.
        path: the PNG.

    Raises:
        OSError: if it cannot be written.
    """
    rows = result["rows"][::-1]  # Bars are drawn from below.
    names = [Path(row["model"]).name for row in rows]
    figure = Figure(figsize=(11, 1.6 + 0.5 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    late = [row["p95_ms"] for row in rows]
    columns = (
        ("ms: median (95th percentile)", [row["ms"] for row in rows]),
        ("peak memory, GiB", [row["process_gib"] for row in rows]),
        ("file, MB", [row["bytes"] / 1e6 for row in rows]),
    )
    panels = figure.subplots(1, 3, sharey=True)
    for axes, (title, values) in zip(panels, columns):
        ends, labels = values, [f"{value:.3g}" for value in values]
        if axes is panels[0]:
            axes.barh(range(len(rows)), late, color="C0", alpha=0.35)
            ends = late
            labels = [f"{x} ({y:.3g})" for x, y in zip(labels, late)]
        axes.barh(range(len(rows)), values, color="C0")
        for row, (end, label) in enumerate(zip(ends, labels)):
            axes.text(end, row, f" {label}", va="center")
        axes.set(title=title, xlim=(0, 1.4 * max(ends)))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(rows)), names)
    figure.suptitle(
        f"{result['threads']} thread(s), {result['batch_size']} image(s) at once, "
        f"{result['machine']}"
    )
    with written_aside(Path(path)) as new:
        figure.savefig(new, dpi=120, format="png")
