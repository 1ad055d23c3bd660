"""Models of `transformers` with random weights: heads inside containers, tied tables, one feature vector a token."""

import pytest
import torch
from torch import nn

from collapselab.core.errors import InputError
from collapselab.evidence import feature_tap
from collapselab.measuring import measure
from tolerances import EXACT

transformers = pytest.importorskip("transformers")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # what the library warns of is its own affair


def resnet() -> nn.Module:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", num_labels=3
    )
    return transformers.ResNetForImageClassification(config)


def vit() -> nn.Module:
    config = transformers.ViTConfig(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=16,
        patch_size=8,
        num_labels=3,
    )
    return transformers.ViTForImageClassification(config)


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(vocab_size=11, n_positions=8, n_embd=12, n_layer=2, n_head=2)
    return transformers.GPT2LMHeadModel(config)


def bert() -> nn.Module:
    config = transformers.BertConfig(
        vocab_size=11,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        num_labels=3,
        max_position_embeddings=16,
    )
    return transformers.BertForSequenceClassification(config)


def images() -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {"pixel_values": torch.randn(6, 3, 16, 16, generator=generator), "labels": torch.arange(6) % 3}
        for _ in range(2)
    ]


@pytest.mark.parametrize(
    ("make", "chosen"),
    [
        (resnet, "'classifier.1' (Linear, 12 -> 3, bias)"),
        (vit, "'classifier' (Linear, 12 -> 3, bias)"),
    ],
)
def test_image_classifiers(make, chosen):
    model = make().train()
    tap = feature_tap(model)
    h = torch.cat([h for h, _ in tap.stream(images())])
    assert str(tap.layer) == chosen
    logits = torch.cat([model.eval()(pixel_values=batch["pixel_values"]).logits for batch in images()])
    head = tap.head()
    assert head is not None
    torch.testing.assert_close(head.logits(h), logits.detach())
    measured = measure(model, images(), split="train", num_classes=3)
    assert measured.conditions.num_samples == 12
    assert measured.conditions.layer == tap.layer.name


def test_a_container_named_by_hand():
    tap = feature_tap(resnet(), "classifier")
    assert tap.probe(images()[0]).name == "classifier.1"


def test_text_classifier():
    batch = transformers.BatchEncoding(
        {
            "input_ids": torch.arange(24).view(6, 4) % 11,
            "attention_mask": torch.ones(6, 4, dtype=torch.int64),
            "labels": torch.arange(6) % 3,
        }
    )
    tap = feature_tap(bert())
    [(h, _)] = tap.stream([batch])
    assert str(tap.layer) == "'classifier' (Linear, 12 -> 3, bias)"
    assert tuple(h.shape) == (6, 12)


def tokens() -> torch.Tensor:
    return torch.randint(0, 11, (5, 8), generator=torch.Generator().manual_seed(0))


def test_next_token_prediction_with_a_tied_table():
    model, ids = gpt2(), tokens()
    shifted = torch.cat([ids[:, 1:], torch.full((5, 1), -100)], dim=1)
    loader = [{"input_ids": ids, "labels": shifted}]
    tap = feature_tap(model)
    [(h, y)] = tap.stream(loader)
    assert str(tap.layer) == "'lm_head' (Linear, 12 -> 11, no bias, tied with 'transformer.wte')"
    assert tuple(h.shape) == (40, 12)
    EXACT.check(y, shifted.flatten())
    head = tap.head()
    assert head is not None
    torch.testing.assert_close(head.logits(h), model.eval()(ids).logits.detach().reshape(-1, 11))

    with pytest.raises(InputError, match="pass ignore_index=-100"):
        measure(model, loader)
    conditions = measure(model, loader, ignore_index=-100).conditions
    assert (conditions.num_samples, conditions.num_ignored, conditions.num_classes) == (35, 5, 11)
    assert not any("shifted" in sentence for sentence in conditions.warnings)


def test_labels_that_were_not_shifted_are_noted():
    ids = tokens()
    conditions = measure(gpt2(), [{"input_ids": ids, "labels": ids}]).conditions
    assert any("shifting is the caller's" in sentence for sentence in conditions.warnings)


def test_a_transposed_layer_by_name():
    tap = feature_tap(gpt2(), "transformer.h.1.mlp.c_fc")
    ids = tokens()
    [(h, _)] = tap.stream([(ids, ids)])
    assert str(tap.layer) == "'transformer.h.1.mlp.c_fc' (Conv1D, 12 -> 48, bias)"
    head = tap.head()
    assert head is not None
    assert tuple(head.weight.shape) == (48, 12)
    assert tuple(h.shape) == (40, 12)
