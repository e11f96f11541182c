from keras_pamunet.inference.predicted import Predicted


class Incomplete(ValueError):
    """Some inputs could not be used; the masks of the others are written.

    Args:
        message: names them.
        predicted: what the others came to.
    """

    def __init__(self, message: str, predicted: Predicted):
        super().__init__(message)
        self.predicted = predicted
