"""The branches of HRNetV2."""

from typing import Any

from keras_pamunet.models.blocks import Blocks

# Number of modules in the stages of 2, 3 and 4 branches.
MODULES = (1, 4, 3)
# Number of residual blocks in a branch of a module, and of bottlenecks in the stem.
REPEATS = 4
# Channels of the stem, and of its bottlenecks' middle.
STEM = 64


def hrnet_v2(blocks: Blocks, x: Any, width: int) -> list[Any]:
    """Features of an image at four sizes, which exchanged what they found.

    Two convolutions with strides and four bottlenecks lead to 1/4 of the image. Three
    stages follow, of 2, 3 and 4 branches. Their modules are four residual blocks in
    each branch and a fusion: each branch becomes the sum of all, of coarser ones by a
    1x1 convolution and bilinear interpolation, of finer ones by 3x3 convolutions with
    strides.

    Args:
        blocks: makes the layers.
        x: tensor of Keras, `(batch, height, width, channels)` in [-1, 1].
        width: channels of the finest branch; each below has twice as many.

    Returns:
        The features at 1/4, 1/8, 1/16 and 1/32 of the image.

    Reference:
        - HRNetV2, arXiv 1908.07919, Figs. 2 and 3.
    """
    branches = [_stem(blocks, x)]
    for stage, modules in enumerate(MODULES):
        branches = _split(blocks, branches, width, f"stage_{stage}")
        for module in range(modules):
            name = f"stage_{stage}_{module}"
            branches = [
                _branch(blocks, x, f"{name}_{index}")
                for index, x in enumerate(branches)
            ]
            branches = _fuse(blocks, branches, f"{name}_fuse")
    return branches


def _stem(blocks, x):
    """Features at 1/4 of the image."""
    for index in range(2):
        x = blocks.conv_norm_relu(x, STEM, 3, 2, name=f"stem_{index}")
    for index in range(REPEATS):
        name, shortcut = f"bottleneck_{index}", x
        if index == 0:
            shortcut = blocks.conv_norm(x, 4 * STEM, 1, name=f"{name}_shortcut")
        x = blocks.conv_norm_relu(x, STEM, 1, name=f"{name}_0")
        x = blocks.conv_norm_relu(x, STEM, 3, name=f"{name}_1")
        x = blocks.conv_norm(x, 4 * STEM, 1, name=f"{name}_2")
        x = blocks.relu(blocks.add(x, shortcut))
    return x


def _split(blocks, branches, width, name):
    """One branch more, made of the coarsest. At first there is the stem alone."""

    def conv(level, strides):
        name_of_level, filters = f"{name}_branch_{level}", width * 2**level
        return blocks.conv_norm_relu(
            branches[-1], filters, 3, strides, name=name_of_level
        )

    kept = branches if len(branches) > 1 else [conv(0, 1)]
    return [*kept, conv(len(branches), 2)]


def _branch(blocks, x, name):
    """Residual blocks of two 3x3 convolutions."""
    filters = x.shape[-1]
    for index in range(REPEATS):
        before = x
        x = blocks.conv_norm_relu(x, filters, 3, name=f"{name}_{index}_0")
        x = blocks.conv_norm(x, filters, 3, name=f"{name}_{index}_1")
        x = blocks.relu(blocks.add(x, before))
    return x


def _fuse(blocks, branches, name):
    """For each branch, the sum of all in its size and of its channels."""

    def moved(source, target):
        x, filters = branches[source], branches[target].shape[-1]
        label = f"{name}_{source}_{target}"
        if source > target:
            x = blocks.conv_norm(x, filters, 1, name=label)
            return blocks.enlarge(x, 2 ** (source - target), f"{label}_up")
        for step in range(source + 1, target):
            x = blocks.conv_norm_relu(x, x.shape[-1], 3, 2, name=f"{label}_{step}")
        if source < target:
            x = blocks.conv_norm(x, filters, 3, 2, name=label)
        return x

    levels = range(len(branches))
    return [
        blocks.relu(blocks.add(*(moved(source, target) for source in levels)))
        for target in levels
    ]
