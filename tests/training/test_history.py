"""The history of a training, as it is read back."""

import pandas as pd
import pytest

from fer_cli.training.fit import best, by_epoch, last_whole_checkpoint


def test_the_epoch_that_is_kept_has_the_lowest_validation_loss_and_not_the_highest_accuracy():
    epochs = pd.DataFrame(
        {"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "val_loss": [0.9, 0.5, 0.7], "val_accuracy": [0.5, 0.6, 0.8]}
    )
    assert best(epochs) == {"epoch": 2, "val_loss": 0.5, "val_accuracy": 0.6}


def test_an_epochs_loss_is_the_mean_of_its_steps():
    """An entry's loss is the mean of the steps since the last one, of which an epoch's last has fewer."""
    history = [
        {"loss": 4.0, "step": 2, "epoch": 0.66},
        {"loss": 1.0, "step": 3, "epoch": 1.0},
        {"eval_loss": 0.9, "eval_accuracy": 0.25, "step": 3, "epoch": 1.0},
        {"loss": 2.0, "step": 5, "epoch": 1.66},
        {"loss": 0.5, "step": 6, "epoch": 2.0},
        {"eval_loss": 0.7, "eval_accuracy": 0.5, "step": 6, "epoch": 1.9999999},
        {"train_runtime": 1.0, "train_loss": 2.25, "step": 6, "epoch": 2.0},
    ]
    epochs = by_epoch(history)
    assert epochs.to_dict("records") == [
        {"epoch": 1, "loss": pytest.approx(3.0), "val_loss": 0.9, "val_accuracy": 0.25},
        {"epoch": 2, "loss": pytest.approx(1.5), "val_loss": 0.7, "val_accuracy": 0.5},
    ]
    assert list(epochs.columns) == ["epoch", "loss", "val_loss", "val_accuracy"]


def test_a_training_goes_on_from_the_latest_checkpoint_by_number_that_is_whole(tmp_path):
    for step, state in ((9, "{}"), (10, "{}"), (11, None), (12, '{"cut sho'), (100, "a folder")):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state == "a folder":
            (folder / "trainer_state.json").mkdir()
        elif state is not None:
            (folder / "trainer_state.json").write_text(state)
    (tmp_path / "other-200").mkdir()
    (tmp_path / "other-200" / "trainer_state.json").write_text("{}")
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
