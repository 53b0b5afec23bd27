"""With a mask, padding does not count: the counts are those of the unpadded sequences, to the number."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from leakyrelu.torch import Monitor, diagnose

D = 8


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)


class Encoder(nn.Module):
    """Takes what the models of Hugging Face take; its dead units fire on padding only."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, D)
        self.up, self.down = nn.Linear(D, 12), nn.Linear(12, D)
        self.head = nn.Linear(D, 6)
        with torch.no_grad():
            self.embedding.weight[0] = 100.0
            self.up.weight[:3] = 1.0
            self.up.bias[:3] = -50.0

    def forward(self, input_ids, attention_mask=None):
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        h = self.embedding(input_ids)
        h = self.mix(h, mask.bool())
        pooled = (h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
        return functional.relu(self.head(pooled))

    def mix(self, h, mask):
        return h + self.down(functional.relu(self.up(h)))


class Flat(Encoder):
    def mix(self, h, mask):
        return h + self.down(functional.relu(self.up(h.view(-1, D)))).view(h.shape)


class FlatPositionsFirst(Encoder):
    def mix(self, h, mask):
        t = h.transpose(0, 1)
        return h + self.down(functional.relu(self.up(t.reshape(-1, D)))).view(t.shape).transpose(0, 1)


class PositionsFirst(Encoder):
    def mix(self, h, mask):
        return h + self.down(functional.relu(self.up(h.transpose(0, 1)))).transpose(0, 1)


class Channels(Encoder):
    def mix(self, h, mask):
        return h + self.down(functional.relu(self.up(h).transpose(1, 2)).transpose(1, 2))


class Heads(Encoder):
    def mix(self, h, mask):
        heads = self.up(h).view(*h.shape[:2], 3, 4).transpose(1, 2)
        return h + self.down(functional.gelu(heads).transpose(1, 2).reshape(*h.shape[:2], 12))


class Packed(Encoder):
    def mix(self, h, mask):
        new = h.clone()
        new[mask] = self.down(functional.relu(self.up(h[mask])))
        return new


class Torch(Encoder):
    batch_first = True

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(D, 2, 12, dropout=0.0, batch_first=self.batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def mix(self, h, mask):
        if self.batch_first:
            return self.encoder(h, src_key_padding_mask=~mask)
        return self.encoder(h.transpose(0, 1), src_key_padding_mask=~mask).transpose(0, 1)


class TorchPositionsFirst(Torch):
    batch_first = False


MODELS = [
    Encoder,
    Flat,
    FlatPositionsFirst,
    PositionsFirst,
    Channels,
    Heads,
    Packed,
    Torch,
    TorchPositionsFirst,
]


def sequences(lengths):
    return [torch.randint(1, 20, (n,)) for n in lengths]


def padded(rows, length=None):
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    ids = functional.pad(ids, (0, (length or ids.shape[1]) - ids.shape[1]))
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def agree(found, wanted):
    assert [site.name for site in found.sites] == [site.name for site in wanted.sites]
    for one, other in zip(found.sites, wanted.sites, strict=True):
        assert (one.values, one.fired.tolist()) == (other.values, other.fired.tolist()), one.name
        assert one.dead.tolist() == other.dead.tolist()
        assert one.below.tolist() == other.below.tolist()
        np.testing.assert_allclose(one.maximum, other.maximum, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.mean_output, other.mean_output, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lengths", [(5, 2, 7), (4, 1, 2, 3)], ids=["3x7", "4x4"])
@pytest.mark.parametrize("make", MODELS)
def test_the_counts_are_those_of_the_unpadded_sequences(make, lengths):
    model, rows = make(), sequences(lengths)
    alone = diagnose(model, [{"input_ids": row[None]} for row in rows])
    batches = [padded(rows)]
    if len(lengths) == 4:
        batches.append(padded(sequences((6, 2, 3))))
        batches.reverse()
        alone = diagnose(
            model, [{"input_ids": row[None, :n]} for b in batches for row, n in zip(*counted_rows(b), strict=True)]
        )
    masked = diagnose(model, batches, mask="attention_mask")
    agree(masked, alone)
    assert masked.examples == alone.examples == sum(len(batch["input_ids"]) for batch in batches)
    assert masked.notes == alone.notes


def counted_rows(batch):
    return batch["input_ids"], batch["attention_mask"].sum(1).tolist()


def test_padding_feigns_life_without_a_mask():
    model, batch = Encoder(), padded(sequences((5, 2, 7)))
    assert diagnose(model, [batch], mask="attention_mask").sites[0].dead[:3].tolist() == [0, 1, 2]
    assert diagnose(model, [batch]).sites[0].dead.tolist() == []


def test_a_function_gives_the_mask():
    model, batch = Encoder(), padded(sequences((5, 2, 7)))
    wanted = diagnose(model, [batch], mask="attention_mask")
    found = diagnose(
        model,
        [batch | {"padding": batch["attention_mask"] == 0}],
        forward=lambda model, batch: model(batch["input_ids"], batch["attention_mask"]),
        mask=lambda batch: ~batch["padding"],
    )
    agree(found, wanted)


def test_a_name_may_be_that_of_an_argument_that_forward_is_given():
    model, batch = Encoder(), padded(sequences((5, 2, 7)))
    pairs = [(batch["input_ids"], batch["attention_mask"])]
    found = diagnose(model, pairs, forward=lambda model, pair: model(*pair), mask="attention_mask")
    agree(found, diagnose(model, [batch], mask="attention_mask"))


def test_whole_examples_can_be_left_out():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    x, real = torch.randn(5, 1, 6, 6), torch.tensor([True, True, False, True, False])
    found = diagnose(model, [(x, real)], mask=lambda batch: batch[1])
    agree(found, diagnose(model, [x[real]]))
    assert (found.examples, found.sites[0].examples, found.notes) == (3, 3, ())


def test_rows_of_padding_alone_are_no_examples():
    model, rows = Encoder(), sequences((3, 2))
    batch = {key: functional.pad(value, (0, 0, 0, 2)) for key, value in padded(rows).items()}
    found = diagnose(model, [batch], mask="attention_mask")
    agree(found, diagnose(model, [padded(rows)], mask="attention_mask"))
    assert found.examples == 2


@pytest.mark.parametrize("mask", ["attention_mask", lambda arguments: arguments["attention_mask"]])
def test_the_monitor_counts_real_tokens_only(mask):
    model = Encoder()
    batches = [padded(sequences((5, 2, 7))), padded(sequences((1, 4)))]
    with Monitor(model, mask=mask) as monitor:
        model(batches[0]["input_ids"], batches[0]["attention_mask"])
        model(**batches[1])
    agree(monitor.diagnosis(), diagnose(model, batches, mask="attention_mask"))


def test_a_pass_without_a_mask_counts_whole_and_is_noted():
    model, ids = Encoder(), torch.randint(1, 20, (3, 5))
    with Monitor(model, mask="attention_mask") as monitor:
        model(ids)
    assert monitor.diagnosis().sites[0].values == 15
    assert monitor.diagnosis().notes == (
        "'attention_mask' was not given in at least one pass, so all values count there",
    )


def test_a_site_that_the_mask_does_not_fit_is_noted():
    class Strided(Encoder):
        def mix(self, h, mask):
            functional.relu(h[:, ::2])
            return super().mix(h, mask)

    (note,) = diagnose(Strided(), [padded(sequences((5, 2, 7)))], mask="attention_mask").notes
    assert note == "relu: a mask of shape (3, 7) does not fit values of shape (3, 4, 8); padding counts there"


def test_an_order_that_cannot_be_known_is_noted():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(D, 2, 12), 1, enable_nested_tensor=False)
    batch = {"src": torch.randn(4, 4, D), "real": torch.tensor([[1, 1, 0, 0]] * 4)}
    found = diagnose(model, [batch], forward=lambda model, batch: model(batch["src"]), mask="real")
    assert "as many examples as positions" in found.notes[0]
    assert found.sites[0].values == 16


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        ("attention", ValueError, "the batch holds input_ids, attention_mask, .*takes input_ids, attention_mask"),
        (3, TypeError, "mask must be the name .* got int"),
        (lambda batch: [1], TypeError, "the mask is of type list"),
        (lambda batch: torch.ones(2, 7), ValueError, r"has shape \(2, 7\), and the inputs have"),
        (lambda batch: -1.0 * batch["attention_mask"], ValueError, "negative values"),
    ],
)
def test_what_is_no_mask_is_refused(mask, error, message):
    model, batch = Encoder(), padded(sequences((5, 2, 7)))
    with pytest.raises(error, match=message):
        diagnose(model, [batch], mask=mask)
    agree(diagnose(model, [batch]), diagnose(model, [batch]))  # nothing is left behind


def test_a_wrong_name_stops_the_first_pass_under_a_monitor():
    model, batch = Encoder(), padded(sequences((5, 2, 7)))
    with Monitor(model, mask="padding"), pytest.raises(ValueError, match=r"Encoder.forward takes input_ids, att"):
        model(**batch)
    assert not torch.overrides._get_current_function_mode_stack()
