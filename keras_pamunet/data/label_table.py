"""Names and colours of labels in the header of a NIfTI file."""

from collections.abc import Sequence
from xml.etree import ElementTree

from nibabel.nifti1 import Nifti1Extension

from keras_pamunet.palette import COLOURS

CARET = 30  # The code of such extensions in NIfTI's own list.


def label_table(class_names: Sequence[str]) -> Nifti1Extension:
    """The extension of a NIfTI header that says what labels 1, 2, ... are.

    It is XML as Connectome Workbench has it (`CaretExtension`), which other programs
    that show or write segmentations use, too.

    Args:
        class_names: of the labels 1, 2, ...
    """
    root = ElementTree.Element("CaretExtension")
    volume = ElementTree.SubElement(root, "VolumeInformation", Index="0")
    table = ElementTree.SubElement(volume, "LabelTable")
    for label, name in enumerate(class_names, 1):
        parts = zip(("Red", "Green", "Blue"), COLOURS[label] / 255)
        colour = {part: f"{share:.6g}" for part, share in parts}
        row = ElementTree.SubElement(
            table, "Label", {"Key": str(label), **colour, "Alpha": "1"}
        )
        row.text = name
    ElementTree.SubElement(volume, "VolumeType").text = "Label"
    content = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return Nifti1Extension(CARET, content)
