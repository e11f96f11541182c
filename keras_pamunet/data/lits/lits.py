import dataclasses
import functools
import inspect
import itertools

import numpy as np
import tensorflow_datasets as tfds

from keras_pamunet.data.resized import resize_image, resize_mask
from keras_pamunet.data.volume import Volume
from keras_pamunet.data.volumes import (
    case_files,
    open_case,
    read_labels,
    warn_of_affines,
)
from keras_pamunet.data.windows import check_hu, to_int16

CITATION = """
@article{bilic2023lits,
  title = {The Liver Tumor Segmentation Benchmark ({LiTS})},
  author = {Bilic, Patrick and Christ, Patrick and Li, Hongwei Bran and others},
  journal = {Medical Image Analysis},
  volume = {84},
  pages = {102680},
  year = {2023},
  doi = {10.1016/j.media.2022.102680},
}
"""


@dataclasses.dataclass(eq=False, kw_only=True)
class LitsConfig(tfds.core.BuilderConfig):
    """How the volumes are prepared.

    Args:
        size: height and width of the slices in pixels, or `None` for whole volumes in
            HU.
    """

    size: int | None = None


class Lits(tfds.core.GeneratorBasedBuilder):
    """LiTS: 131 CT volumes with the liver (1) and its tumours (2) labelled.

    The slices `slices_128` and `slices_256` hold `image` (size, size, 1) int16 in HU;
    `mask` (size, size, 1) uint8; `volume`, as `volume-3`; `slice`,
    counted from the feet up; `spacing`, mm from column to column, row to row and slice
    to slice after the resizing. The configuration `volumes` holds `image`
    (slices, rows, columns) int16 in HU and `mask`, uint8 of the same shape, with
    `volume` and the `spacing` in the order above. Slices lie as `Volume` reads them.

    All is one split, `"train"`; the labels of the challenge's test volumes are not
    public. Divide it by `volume`: slices of one patient are no test of each other.

    Generation holds one volume at a time. Apache Beam does it where
    `tfds.download.DownloadConfig` has a `beam_runner` or `beam_options`.

    Example:

    >>> import keras_pamunet.data.lits
    >>> import tensorflow_datasets as tfds
    >>> builder = tfds.builder("lits", data_dir="data", file_format="array_record")
    >>> builder.download_and_prepare()
    Downloading and preparing dataset ...
    >>> slices = builder.as_data_source("train")
    """

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES = {
        "1.0.0": "First release.",
        "2.0.0": "Slices in HU, where they were 8-bit grey values of a window.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Either register at https://competitions.codalab.org/competitions/17094 and download
    the training volumes (volume-N.nii and segmentation-N.nii, also in the folders
    "Training Batch 1" and "Training Batch 2"), or download Task03_Liver.tar from
    http://medicaldecathlon.com (imagesTr and labelsTr). Unpack it in the manual_dir.
    """
    BUILDER_CONFIGS = [
        LitsConfig(name="slices_128", description="Slices of 128 pixels.", size=128),
        LitsConfig(name="slices_256", description="Slices of 256 pixels.", size=256),
        LitsConfig(name="volumes", description="Whole volumes in HU."),
    ]

    def _info(self):
        if self.builder_config.size is None:
            shape = (None, None, None)
            features = {
                "image": tfds.features.Tensor(
                    shape=shape, dtype=np.int16, encoding="zlib"
                ),
                "mask": tfds.features.Tensor(
                    shape=shape, dtype=np.uint8, encoding="zlib"
                ),
            }
        else:
            shape = (self.builder_config.size, self.builder_config.size, 1)
            features = {
                "image": tfds.features.Tensor(
                    shape=shape, dtype=np.int16, encoding="zlib"
                ),
                "mask": tfds.features.LabeledImage(
                    shape=shape,
                    labels=["background", "liver", "tumour"],
                    encoding_format="png",
                ),
                "slice": np.int32,
            }
        return tfds.core.DatasetInfo(
            builder=self,
            description=inspect.getdoc(self),
            features=tfds.features.FeaturesDict(
                {
                    **features,
                    "volume": tfds.features.Text(),
                    "spacing": tfds.features.Tensor(shape=(3,), dtype=np.float32),
                }
            ),
            homepage="https://competitions.codalab.org/competitions/17094",
            citation=CITATION,
            license="LiTS: CC BY-NC-ND 4.0. "
            "Medical Segmentation Decathlon, Task03_Liver: CC BY-SA 4.0.",
        )

    def download_and_prepare(self, *, download_config=None, **arguments):
        self._beam = download_config and (
            download_config.beam_runner or download_config.beam_options
        )
        super().download_and_prepare(download_config=download_config, **arguments)

    def _split_generators(self, dl_manager):
        cases = case_files(dl_manager.manual_dir)
        return {"train": self._generate_examples(list(cases.items()))}

    def _generate_examples(self, cases):
        size = self.builder_config.size
        read = _volume
        if size is not None:
            read = functools.partial(_slices, size=size)
        if self._beam:
            beam = tfds.core.lazy_imports.apache_beam
            return beam.Create(cases) | beam.FlatMap(read)
        return itertools.chain.from_iterable(map(read, cases))


# Beam sends these two functions to other machines.
def _volume(case):
    name, image, labels = _open(case)
    slices = range(len(image))
    example = {
        "image": np.stack([to_int16(image.slice(z)) for z in slices]),
        "mask": np.stack([read_labels(labels, z) for z in slices]),
        "volume": name,
        "spacing": np.array(image.spacing, "float32"),
    }
    return [(name, example)]


def _slices(case, size):
    name, image, labels = _open(case)
    columns, rows, _ = image.shape
    spacing = np.array(image.spacing) * (columns / size, rows / size, 1)
    for z in range(len(image)):
        pixels = to_int16(image.slice(z))[..., np.newaxis]
        mask = resize_mask(read_labels(labels, z), (size, size))
        example = {
            "image": resize_image(pixels, (size, size)),
            "mask": mask[..., np.newaxis],
            "slice": z,
            "volume": name,
            "spacing": spacing.astype("float32"),
        }
        yield f"{name}/{z:04}", example


def _open(case):
    name, paths = case
    volumes = (Volume(path.read_bytes(), str(path)) for path in paths)
    image, labels, wrong = open_case(*volumes)
    warn_of_affines([wrong] if wrong else [])
    check_hu(image)
    return name, image, labels
