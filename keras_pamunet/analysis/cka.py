"""How alike the layers of two networks see the same images (CKA)."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_pamunet.analysis.layer_grams import LayerGrams
from keras_pamunet.data.pairs import Pairs
from keras_pamunet.data.resized import resize_image
from keras_pamunet.drawing import write_picture
from keras_pamunet.files import replace_text
from keras_pamunet.inference.predictor import fit_image, input_size
from keras_pamunet.models.segmenter import Segmenter
from keras_pamunet.progress import track

# Below, the unbiased HSIC is not defined.
FEWEST_IMAGES = 4
INCHES_A_LAYER = 0.13


def layer_similarity(
    model: Segmenter,
    other: Segmenter,
    source: Pairs,
    *,
    layers: Sequence[str] = (),
    batch_size: int = 20,
    size: int = 128,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Linear CKA of each layer of a network with each layer of another.

    With the Gram matrices K and L of two layers for a batch, CKA is HSIC(K, L) /
    sqrt(HSIC(K, K) HSIC(L, L)), each HSIC the unbiased estimate, averaged over the
    batches. So the result estimates that of all images together, and no more than the
    features of one batch are held.

    Args:
        model: the network of the rows.
        other: the network of the columns; may be `model` itself.
        source: the images, which are resized to what each network takes.
        layers: names of layers of either network, see
            `keras_pamunet.analysis.layer_grams.LayerGrams`. By default those with
            weights, without normalisations, and those that join tensors.
        batch_size: images in a batch, 4 or more. The images that do not fill a batch
            are left out.
        size: height and width to resize images to, for networks that take any size.
        seed: draws which images stand in one batch.
        progress: whether to show a progress bar.

    Returns:
        `{"rows": [...], "columns": [...], "cka": ..., "images": ...}`: names of the
        layers of both networks; CKA, `(rows, columns)` float64, at most 1, around 0 of
        layers that have nothing in common, and NaN where a layer has no variance that
        the estimate could tell from 0; and the number of images.

    Raises:
        ValueError: if there are fewer images than a batch has, a network has no such
            layers, or, naming the image, if a network does not take it.
        FloatingPointError: names the layer whose features are NaN or infinite.

    Reference:
        - Nguyen, Raghu, Kornblith: Do Wide and Deep Networks Learn the Same Things?
          ICLR 2021, arXiv 2010.15327, eqs. 1-3.
    """
    if not FEWEST_IMAGES <= batch_size <= len(source):
        raise ValueError(
            f"Expected batches of {FEWEST_IMAGES} images or more, without which there "
            "is no unbiased estimate of HSIC, and at least as many images as a batch "
            f"has. Received: {batch_size=}, {len(source)} images"
        )
    networks = [model] if other is model else [model, other]
    grams = [LayerGrams(network, layers) for network in networks]
    sizes = [input_size(network, (size, size)) for network in networks]
    for network, layer_grams, its_size in zip(networks, grams, sizes):
        layer_grams.build((batch_size, *its_size, network.input_shape[-1]))
    order = np.random.default_rng(seed).permutation(len(source))
    batches = np.split(order, range(batch_size, len(order), batch_size))
    batches = [batch for batch in batches if len(batch) == batch_size]
    rows = columns = cross = 0
    for batch in track(batches, "Comparing layers", shown=progress):
        images = [source[index][0] for index in batch]
        names = [source.names[index] for index in batch]
        fitted = [
            _fitted(network, its_size, images, names)
            for network, its_size in zip(networks, sizes)
        ]
        one, *another = map(_gram_matrices, networks, grams, fitted)
        two = another[0] if another else one
        rows = rows + _unbiased_hsic(one, one, pairs=False)
        columns = columns + _unbiased_hsic(two, two, pairs=False)
        cross = cross + _unbiased_hsic(one, two)
    with np.errstate(invalid="ignore", divide="ignore"):
        cka = cross / np.sqrt(np.multiply.outer(rows, columns))
    return {
        "rows": list(grams[0].names),
        "columns": list(grams[-1].names),
        "cka": np.where(np.isfinite(cka), cka, np.nan),
        "images": batch_size * len(batches),
    }


def _fitted(network, size, images, names):
    """Images as a network takes them, `(batch, height, width, channels)`."""
    fitted = []
    for image, name in zip(images, names):
        try:
            fitted.append(resize_image(fit_image(network, image), size))
        except ValueError as error:
            raise ValueError(f"{name}, for {network.origin}: {error}") from error
    return np.stack(fitted)


def _gram_matrices(network, grams, images):
    """Those of each layer, `(layers, batch, batch)` float64."""
    found = grams.predict_on_batch(images)
    matrices = np.stack([ops.convert_to_numpy(gram) for gram in found])
    for name, matrix in zip(grams.names, matrices):
        if not np.isfinite(matrix).all():
            raise FloatingPointError(
                f"Expected numbers as the features of {name!r}. Received: NaN or "
                f"infinity. The weights of {network.origin} are damaged, or its "
                "training went wrong."
            )
    return matrices.astype("float64")


def _unbiased_hsic(one, two, pairs=True):
    """HSIC_1 (eq. 3) of each matrix of one with each of two, `(one, two)`.

    Without pairs, of the first with the first, the second with the second and so on.
    """
    count = one.shape[-1]
    one, two = (x * (1 - np.eye(count)) for x in (one, two))
    sums, other_sums = one.sum(axis=-1), two.sum(axis=-1)
    totals, other_totals = (x.sum(axis=-1, keepdims=True) for x in (sums, other_sums))
    product = "im,jm->ij" if pairs else "im,im->i"

    def products(x, y):
        return np.einsum(product, x, y, optimize=True)

    return (
        products(one.reshape(len(one), -1), two.reshape(len(two), -1))
        + products(totals, other_totals) / ((count - 1) * (count - 2))
        - 2 / (count - 2) * products(sums, other_sums)
    ) / (count * (count - 3))


def write_similarity(
    similarity: dict[str, Any], path: str | Path, names: tuple[str, str]
) -> None:
    """Draws the similarity of layers (Fig. 1), and writes its numbers beside it.

    Args:
        similarity: what `layer_similarity` returned.
        path: of the picture. The numbers lie in a `.csv` file of the same name.
        names: of the networks of rows and columns.

    Raises:
        ValueError: if the ending of `path` is that of no picture.
        OSError: if a file cannot be written.
    """
    rows, columns, cka = (similarity[key] for key in ("rows", "columns", "cka"))
    height, width = (2 + INCHES_A_LAYER * len(x) for x in (rows, columns))
    figure = Figure(figsize=(width + 1, height), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    colours = colormaps["viridis"].with_extremes(bad="0.8")
    picture = axes.imshow(cka, colours, vmin=0, vmax=1, interpolation="nearest")
    for axis, layers, name in (
        (axes.yaxis, rows, names[0]),
        (axes.xaxis, columns, names[1]),
    ):
        axis.set_ticks(range(len(layers)), layers, fontsize=6, parse_math=False)
        axis.set_label_text(name, parse_math=False)
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(length=2)
    axes.set_title(f"Linear CKA of layers, {similarity['images']} images")
    figure.colorbar(picture, fraction=0.04, aspect=40)
    figure.set_dpi(150)
    canvas.draw()
    write_picture(np.asarray(canvas.buffer_rgba())[..., :3].copy(), path)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["", *columns])
    writer.writerows([name, *values] for name, values in zip(rows, cka.tolist()))
    replace_text(Path(path).with_suffix(".csv"), table.getvalue())
