"""The history of a training, as it is read back, and the epoch that it keeps."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import EvalPrediction

from fer_cli.training import trainer as training
from fer_cli.training.fit import best, by_epoch, last_whole_checkpoint
from tests.training.test_trainer import TIRING, TURNED, Embedded, trainer


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


def test_the_epoch_may_be_chosen_by_accuracy_or_average_recall_the_first_of_equals():
    epochs = pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "val_loss": [0.9, 0.5, 0.7],
            "val_accuracy": [0.8, 0.6, 0.8],
            "val_uar": [0.5, 0.6, 0.7],
        }
    )
    assert best(epochs, "loss")["epoch"] == 2
    assert best(epochs, "accuracy")["epoch"] == 1
    assert best(epochs, "uar") == {"epoch": 3, "val_loss": 0.7, "val_accuracy": 0.8, "val_uar": 0.7}


def test_the_average_recall_is_over_the_classes_that_are_shown():
    logits = np.eye(4)[[0, 0, 1, 1, 3]]
    found = training._validation_metrics(EvalPrediction(predictions=logits, label_ids=np.array([0, 0, 0, 1, 1])))
    assert found == {"accuracy": pytest.approx(3 / 5), "uar": pytest.approx((2 / 3 + 1 / 2) / 2)}


@pytest.mark.parametrize(("select", "kept", "ended"), [("loss", 1, 3), ("uar", 3, 5)])
def test_the_metric_that_is_asked_for_keeps_the_epoch_and_ends_the_training(tmp_path, monkeypatch, select, kept, ended):
    """Against labels that contradict those trained on the loss only rises; the recall is scripted to peak at 3."""
    recall = iter([0.1, 0.2, 0.3, 0.3, 0.2, 0.9])
    monkeypatch.setattr(training, "_validation_metrics", lambda _: {"accuracy": 0.5, "uar": next(recall)})
    made = trainer(tmp_path, dataclasses.replace(TIRING, select=select))
    made.eval_dataset = Embedded(TURNED)
    weights = {}
    made.add_callback(_weights_by_epoch(weights))
    made.train()
    assert made.state.epoch == ended
    assert made.state.best_global_step == 2 * kept
    assert torch.equal(made.model.head[0].weight, weights[kept])
    assert best(by_epoch(made.state.log_history), select)["epoch"] == kept


def _weights_by_epoch(seen: dict):
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):
        def on_epoch_end(self, args, state, control, model=None, **_):
            seen[round(state.epoch)] = model.head[0].weight.detach().clone()

    return Recorder()


def test_a_training_without_validation_has_its_loss_by_epoch():
    history = [
        {"epoch": 0.5, "step": 1, "loss": 4.0},
        {"epoch": 1.0, "step": 2, "loss": 2.0},
        {"epoch": 1.5, "step": 3, "loss": 1.0},
        {"epoch": 2.0, "step": 4, "loss": 0.5},
        {"epoch": 2.0, "step": 4, "train_loss": 1.9},
    ]
    assert by_epoch(history).to_dict("list") == {"epoch": [1, 2], "loss": [3.0, 0.75]}
