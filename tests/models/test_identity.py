import pytest
import torch
from safetensors.torch import save_file

from fer_cli.errors import ModelError
from fer_cli.models import IdentityConfig, IdentityModel
from fer_cli.models.identity import identity_network, identity_weights

SMALL = "mobilenet_v3_small"


def saved(folder) -> IdentityModel:
    torch.manual_seed(0)
    network = IdentityModel(IdentityConfig(id2label={0: "P01", 1: "P02"}, label2id={"P01": 0, "P02": 1}))
    network.save_pretrained(folder)
    return network


def test_it_tells_subjects_apart_by_a_linear_layer_on_the_embedding(tmp_path):
    network = saved(tmp_path).eval()
    faces = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = network(faces, labels=torch.tensor([0, 1]))
        assert torch.equal(output.logits, network.classifier(network.encoder(faces)))
    assert output.loss == torch.nn.functional.cross_entropy(output.logits, torch.tensor([0, 1]))


def test_with_a_scale_its_logits_are_scaled_cosines(tmp_path):
    torch.manual_seed(0)
    IdentityModel(IdentityConfig(scale=24.0, num_labels=3)).save_pretrained(tmp_path)
    network = IdentityModel.from_pretrained(tmp_path).eval()
    faces = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        logits, embeddings = network(faces).logits, network.encoder(faces)
    expected = 24 * torch.cosine_similarity(embeddings[:, None], network.classifier.weight[None], dim=2)
    torch.testing.assert_close(logits, expected)


def test_a_run_or_a_file_of_it_gives_its_encoder_and_names_its_network(tmp_path):
    network = saved(tmp_path)
    save_file(
        {f"encoder.{k}": v.contiguous() for k, v in network.encoder.state_dict().items()}, tmp_path / "e.safetensors"
    )
    for path in (tmp_path, tmp_path / "e.safetensors"):
        name, weights = identity_weights(path)
        assert name == SMALL
        identity_network(name).load_state_dict(weights, strict=False)
        assert all(torch.equal(weights[k], v) for k, v in network.encoder.state_dict().items() if v.dim())


def test_what_holds_no_identity_encoder_is_refused(tmp_path):
    save_file({"features.0.weight": torch.zeros(7)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="none of the encoders"):
        identity_weights(tmp_path / "other.safetensors")
    with pytest.raises(ModelError) as caught:
        identity_weights(tmp_path / "nowhere")
    assert "--identity takes vggface2, subjects, none" in caught.value.hint
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(ModelError, match="cannot be read as weights"):
        identity_weights(tmp_path / "broken.safetensors")
