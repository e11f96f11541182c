import io

import cv2
import tensorflow_datasets as tfds

from keras_pamunet.data.folder import Folder

URL = "https://datasets.simula.no/downloads/kvasir-seg.zip"


class KvasirSeg(tfds.core.GeneratorBasedBuilder):
    """Kvasir-SEG, 1000 colonoscopy images with masks of their polyps, for TFDS.

    All pairs are in the one split `"train"`; `keras_pamunet.data.open_splits` knows
    the published splits by name.

    Reference: Jha et al., Kvasir-SEG: A Segmented Polyp Dataset, MMM 2020.

    Example:

    >>> import keras_pamunet.data.kvasir_seg
    >>> import tensorflow_datasets as tfds
    >>> builder = tfds.builder("kvasir_seg", file_format="array_record")
    >>> builder.download_and_prepare()
    Downloading and preparing dataset ...
    >>> pair = builder.as_data_source("train")[0]  # image, mask and name
    >>> pair["image"].dtype, pair["mask"].shape[2]
    (dtype('uint8'), 1)
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    With a network there is nothing to do. Without one, put {URL}
    or the folder `Kvasir-SEG` that it holds into the manual folder.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description="1000 colonoscopy images with masks of their polyps.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(None, None, 3), encoding_format="jpeg"
                    ),
                    "mask": tfds.features.Image(
                        shape=(None, None, 1), encoding_format="png"
                    ),
                    "name": tfds.features.Text(),
                }
            ),
            homepage="https://datasets.simula.no/kvasir-seg/",
            citation="""@inproceedings{jha2020kvasir,
  title={Kvasir-{SEG}: A Segmented Polyp Dataset},
  author={Jha, Debesh and Smedsrud, Pia H. and Riegler, Michael A. and
          Halvorsen, P{\\aa}l and de Lange, Thomas and Johansen, Dag and
          Johansen, H{\\aa}vard D.},
  booktitle={MultiMedia Modeling (MMM)},
  pages={451--462},
  year={2020},
  publisher={Springer},
  doi={10.1007/978-3-030-37734-2_37}
}""",
            license="Research and education only. Commercial use needs the written "
            "permission of the authors.",
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(_folder(dl_manager))}

    def _generate_examples(self, folder):
        pairs = Folder(folder)
        for index, name in enumerate(pairs.names):
            _, mask = pairs[index]
            # Encoded here: TFDS' own PNG encoder needs TensorFlow.
            png = cv2.imencode(".png", mask)[1].tobytes()
            yield (
                name,
                {
                    "image": folder / "images" / f"{name}.jpg",
                    "mask": io.BytesIO(png),
                    "name": name,
                },
            )


def _folder(dl_manager):
    """The folder of images/ and masks/: put there by hand, or downloaded."""
    try:
        roots = [dl_manager.manual_dir]
    except AssertionError:  # TFDS found nothing there.
        roots = []
    for archive in [root / "kvasir-seg.zip" for root in roots]:
        if archive.exists():
            roots.append(dl_manager.extract(archive))
    folders = [root / name for root in roots for name in ("", "Kvasir-SEG")]
    for folder in folders:
        if (folder / "images").exists():
            return folder
    return dl_manager.download_and_extract(URL) / "Kvasir-SEG"
