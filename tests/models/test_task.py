import pytest

from keras_pamunet.models.task import Task


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("batch_norm_momentum", 1.5),
        ("name", 3),
        ("trainable", "no"),
        ("dtype", "float31"),
        ("mirror_axes", (3,)),
        ("num_classes", 0),
        ("masks", "both"),
        ("input_range", (1, 0)),
    ],
)
def test_errors(argument, value):
    """Before any layer is made."""
    arguments = {"input_shape": (32, 32, 3), "name": "network", argument: value}
    with pytest.raises(ValueError, match=argument):
        Task(**arguments)
