"""The history of a training, as it is read back."""

import pandas as pd

from fer_cli.training.fit import best


def test_the_epoch_that_is_kept_has_the_lowest_validation_loss_and_not_the_highest_accuracy():
    epochs = pd.DataFrame(
        {"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "val_loss": [0.9, 0.5, 0.7], "val_accuracy": [0.5, 0.6, 0.8]}
    )
    assert best(epochs) == {"epoch": 2, "val_loss": 0.5, "val_accuracy": 0.6}
