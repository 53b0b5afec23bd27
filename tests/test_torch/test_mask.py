"""With a mask, padding does not count: the counts are those of the unpadded sequences, to the number."""

import multiprocessing
import os

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

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


def alone(rows):
    return [{"input_ids": row[None]} for row in rows]


class HeadsBeside(Encoder):
    """(N * H, T, D), as in fairseq and in T5's forerunners."""

    def mix(self, h, mask):
        n, t, _ = h.shape
        heads = self.up(h).view(n, t, 3, 4).transpose(1, 2).reshape(n * 3, t, 4)
        return h + self.down(functional.relu(heads).view(n, 3, t, 4).transpose(1, 2).reshape(n, t, 12))


class HeadsBesidePositionsFirst(Encoder):
    """(T, N * H, D), as in `nn.MultiheadAttention`."""

    def mix(self, h, mask):
        n, t, _ = h.shape
        heads = functional.relu(self.up(h.transpose(0, 1)).reshape(t, n * 3, 4))
        return h + self.down(heads.reshape(t, n, 12).transpose(0, 1))


class HeadsFirst(Encoder):
    """(3, N, H, T, D): queries, keys and values, where there may be as many of them as examples."""

    def mix(self, h, mask):
        n, t, _ = h.shape
        q, k, v = functional.relu(self.up(h).view(n, t, 3, 2, 2).permute(2, 0, 3, 1, 4)).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        return h + functional.gelu(mixed).transpose(1, 2).reshape(n, t, 4).repeat(1, 1, 2)


class Attention(Encoder):
    """The scores are products of matrices, and positions are summed over."""

    def mix(self, h, mask):
        scores = self.up(h) @ self.up(h).transpose(1, 2)
        weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
        return h + functional.relu(torch.einsum("nqk,nkd->nqd", weights, h)) + functional.relu(weights @ h)


class Unpadded(Encoder):
    """The real tokens are taken out by their indices, as FlashAttention wants it."""

    def mix(self, h, mask):
        rows = mask.flatten().nonzero().flatten()
        new = self.down(functional.relu(self.up(h.reshape(-1, D)[rows])))
        return h.reshape(-1, D).index_add(0, rows, new).view(h.shape)


class Experts(Encoder):
    """Each token is sent to two of three experts, padding as well; all tokens of an expert run at once."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(D, D) for _ in range(3))

    def mix(self, h, mask):
        tokens, made = h.reshape(-1, D), torch.zeros_like(h.reshape(-1, D))
        _, chosen = tokens[:, :3].topk(2)
        for i, expert in enumerate(self.experts):
            rows, _ = torch.where(chosen == i)
            made.index_add_(0, rows, functional.relu(expert(tokens[rows])))
        return h + made.view(h.shape)


class LastTokens(Encoder):
    def mix(self, h, mask):
        last = h[torch.arange(len(h)), mask.sum(1) - 1]
        every = h[mask.nonzero(as_tuple=True)][torch.arange(int(mask.sum())).flip(0)]
        return h + functional.relu(last)[:, None] + 0 * functional.gelu(every).mean()


class OneByOne(Encoder):
    """Each example runs alone, with its padding."""

    def mix(self, h, mask):
        return h + torch.stack([self.down(functional.relu(self.up(h[i]))) for i in range(len(h))])


class Recurrent(Encoder):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(D, D, batch_first=True)

    def mix(self, h, mask):
        packed = nn.utils.rnn.pack_padded_sequence(h, mask.sum(1), batch_first=True, enforce_sorted=False)
        out, _ = self.lstm(packed)
        inside = functional.relu(out.data)
        back, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
        return functional.relu(back) + inside.mean() * 0


class Pooled(Encoder):
    def mix(self, h, mask):
        real = (h * mask[..., None]).transpose(1, 2)
        sums = real.sum(-1, keepdim=True)  # (N, C, 1)
        return h * functional.relu(sums).transpose(1, 2) + functional.relu(h[:, 0])[:, None]


@pytest.mark.parametrize("lengths", [(5, 2, 7), (4, 1, 2, 3), (2, 2)], ids=["3x7", "4x4", "full"])
@pytest.mark.parametrize(
    "make", [HeadsBeside, HeadsBesidePositionsFirst, HeadsFirst, Attention, Unpadded, Pooled, Experts, LastTokens]
)
def test_the_counts_are_those_of_the_unpadded_sequences_in_whatever_shape(make, lengths):
    model, rows = make(), sequences(lengths)
    found = diagnose(model, [padded(rows)], mask="attention_mask")
    agree(found, diagnose(model, alone(rows)))
    assert found.notes == ()


class Convolution(nn.Module):
    def __init__(self, stride=1):
        super().__init__()
        self.conv = nn.Conv1d(D, 12, 3, padding=1, stride=stride)

    def forward(self, x):
        return functional.relu(self.conv(x))


def signals(lengths):
    rows = [torch.randn(n, D) for n in lengths]
    x = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    real = torch.arange(x.shape[1])[None] < torch.tensor(lengths)[:, None]
    return rows, x, real


def test_a_convolution_over_time_keeps_positions_and_a_stride_does_not():
    rows, x, real = signals((5, 2, 7))
    model = Convolution()
    for mask in (real, real.long(), real.double()):
        found = diagnose(model, [(x.mT, mask)], mask=lambda batch: batch[1])
        agree(found, diagnose(model, [row.T[None] for row in rows]))
        assert found.notes == ()
    found = diagnose(Convolution(2), [(x.mT, real)], mask=lambda batch: batch[1])
    assert found.sites[0].values == 3 * 4
    assert found.notes == (
        "relu: a mask of shape (3, 7) does not fit values of shape (3, 12, 4); padding counts there",
    )


class TimeFirst(nn.Module):
    """Takes (T, N, D), and no module in it says so."""

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(D, 12)

    def forward(self, x, real=None):
        return functional.relu(self.up(x)).mean(0)


@pytest.mark.parametrize("fill", [0.0, 7.5])
def test_a_square_mask_is_read_by_the_padding_in_a_model_with_positions_first(fill):
    rows, x, real = signals((4, 1, 2, 3))
    model, x = TimeFirst(), torch.where(real[..., None], x, fill).transpose(0, 1).contiguous()
    found = diagnose(model, [{"x": x, "real": real}], mask="real")
    agree(found, diagnose(model, [row[:, None] for row in rows]))
    assert found.notes == ()


def test_what_comes_first_is_remembered_from_other_passes():
    model = TimeFirst()
    (_, long, real_long), (_, square, real) = signals((5, 2, 7)), signals((4, 1, 2, 3))
    square = torch.randn_like(square)  # the padding does not tell
    batches = [{"x": long.transpose(0, 1), "real": real_long}, {"x": square.transpose(0, 1), "real": real}]
    with Monitor(model, mask="real") as monitor:
        for batch in batches:
            model(batch["x"], real=batch["real"])
    (site,) = monitor.diagnosis().sites
    assert (site.values, monitor.diagnosis().notes) == (14 + 10, ())
    x = square[real]
    wanted = (model.up(x) > 0).sum(0) + (model.up(long[real_long]) > 0).sum(0)
    assert site.fired.tolist() == wanted.tolist()


def test_a_square_mask_that_nothing_reads_is_noted_until_another_pass_tells():
    _, x, real = signals((4, 1, 2, 3))
    square = {"x": torch.randn_like(x), "real": real}
    noted = (
        "at least one pass had as many examples as positions; in its input 'x', examples were taken to come first, "
        "as nothing told"
    )
    _, long, real_long = signals((5, 2, 7))
    assert diagnose(TimeFirst(), [square], mask="real").notes == (noted,)
    batches = [square, {"x": long, "real": real_long}]
    assert diagnose(TimeFirst(), batches, mask="real").notes == ()
    batches = [square, {"x": long.transpose(0, 1), "real": real_long}]
    (note,) = diagnose(TimeFirst(), batches, mask="real").notes
    assert note == f"{noted}, which was wrong: later passes show that positions do"


def test_a_symmetric_mask_reads_the_same_in_both_orders():
    batch = {"x": torch.randn(3, 3, D), "real": torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]])}
    found = diagnose(TimeFirst(), [batch], mask="real")
    assert (found.sites[0].values, found.notes) == (6, ())


class RecurrentTimeFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(D, D)  # batch_first=False

    def forward(self, x):
        return functional.relu(self.lstm(x)[0])


@pytest.mark.parametrize("make", [HeadsBeside, HeadsFirst, Experts, Attention, Flat, FlatPositionsFirst])
def test_whole_examples_can_be_left_out_in_whatever_shape(make):
    model, ids, real = make(), torch.randint(1, 20, (3, 5)), torch.tensor([True, False, True])
    found = diagnose(model, [{"input_ids": ids}], mask=lambda batch: real)
    agree(found, diagnose(model, [{"input_ids": ids[real]}]))
    assert found.notes == ()


@pytest.mark.parametrize("make", [TimeFirst, RecurrentTimeFirst])
def test_whole_examples_may_be_on_the_second_axis(make):
    x, real = torch.randn(5, 3, D), torch.tensor([True, False, True])
    model = make()
    found = diagnose(model, [(x, real)], mask=lambda batch: batch[1])
    agree(found, diagnose(model, [x[:, real]]))
    assert found.notes == ()
    found = diagnose(model, [(torch.randn(3, 3, D), real)], mask=lambda batch: batch[1])
    assert "as many examples as positions" in "".join(found.notes)


def test_what_has_no_positions_counts_by_examples_beside_a_square_mask():
    class Beside(Encoder):
        def __init__(self):
            super().__init__()
            self.side = nn.Linear(5, D)

        def forward(self, input_ids, side, attention_mask=None):
            return super().forward(input_ids, attention_mask) + functional.gelu(self.side(side)).mean()

    rows, side = [*sequences((4, 1, 2)), torch.zeros(0, dtype=torch.long)], torch.randn(4, 5)
    model = Beside()
    found = diagnose(model, [padded(rows) | {"side": side}], mask="attention_mask")
    assert [site.values for site in found.sites] == [7, 3, 3]
    assert found.notes == ()


def test_examples_that_run_alone_have_sites_of_their_own():
    model, rows = OneByOne(), sequences((5, 2, 7))
    found = diagnose(model, [padded(rows)], mask="attention_mask")
    assert [site.values for site in found.sites] == [5, 2, 7, 3]
    wanted = [diagnose(model, [{"input_ids": row[None]}]).sites[0].fired.tolist() for row in rows]
    assert [site.fired.tolist() for site in found.sites[:3]] == wanted
    assert found.notes == ()


class Decoder(Encoder):
    """Has a second sequence, which may be as long as the first one by chance."""

    def forward(self, input_ids, decoder_input_ids, attention_mask=None):
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        h, g = self.mix(self.embedding(input_ids), mask.bool()), self.embedding(decoder_input_ids)
        scores = (g @ h.transpose(1, 2)).masked_fill(mask[:, None] == 0, -torch.inf)
        return self.mix(g + scores.softmax(-1) @ h, None)


def test_a_decoder_of_the_same_length_has_positions_of_its_own():
    model, rows, other = Decoder(), sequences((5, 2, 7)), torch.randint(1, 20, (3, 7))
    batch = padded(rows) | {"decoder_input_ids": other}
    wanted = diagnose(
        model, [{"input_ids": row[None], "decoder_input_ids": ids[None]} for row, ids in zip(rows, other, strict=True)]
    )
    for mask in ("attention_mask", lambda batch: batch["attention_mask"]):
        found = diagnose(model, [batch], mask=mask)
        agree(found, wanted)
        (note,) = found.notes
        assert note == "relu:2: its positions are those of 'decoder_input_ids', not the mask's; padding counts there"
    real = functional.pad(torch.ones(3, 4, dtype=torch.long), (0, 3))
    found = diagnose(
        model,
        [batch | {"decoder_mask": real}],
        forward=lambda model, batch: model(batch["input_ids"], batch["decoder_input_ids"]),
        mask="decoder_mask",
    )
    assert [site.values for site in found.sites] == [21, 12]


class TextAndImage(Encoder):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, input_ids, image, attention_mask=None):
        return super().forward(input_ids, attention_mask) + functional.gelu(self.conv(image)).mean()


def test_an_axis_of_an_image_has_the_length_of_the_text_by_chance():
    rows = sequences((5, 2, 7))
    batch = padded(rows) | {"image": torch.randn(3, 3, 9, 7)}
    found = diagnose(TextAndImage(), [batch], mask="attention_mask")
    assert found.sites[2].values == 3 * 9 * 7
    assert found.notes == (
        "gelu: a mask of shape (3, 7) does not fit values of shape (3, 4, 9, 7); padding counts there",
    )
    assert found.sites[0].values == 14


@pytest.mark.parametrize(
    "rearrange",
    [
        lambda h: h[torch.tensor([2, 0, 1])],
        lambda h: h.index_select(0, torch.tensor([2, 0, 1])),
        lambda h: h.flip(1),
        lambda h: h.roll(1, 1),
        lambda h: h.sort(1)[0],
        lambda h: h[:, [1, 0, 2, 3, 4, 5, 6]],
        lambda h: h[:, ::2].reshape(-1, D),  # as many rows as there are real tokens
        lambda h: h.reshape(-1, D)[:12],
        lambda h: h.flip(1)[torch.tensor([2, 0, 1])],
        lambda h: torch.cat([h, h]),
        lambda h: torch.cat([h[:, :1], h], 1),
    ],
)
def test_values_in_another_order_are_noted(rearrange):
    class Rearranged(Encoder):
        def mix(self, h, mask):
            return h + 0 * functional.relu(rearrange(h)).sum()

    rows = sequences((3, 2, 7))
    found = diagnose(Rearranged(), [padded(rows)], mask="attention_mask")
    (note,) = found.notes
    assert note.startswith("relu: a mask of shape (3, 7) does not fit values of shape")
    assert found.sites[1].values == 3


def test_the_order_of_other_axes_may_change():
    class Moved(Encoder):
        def mix(self, h, mask):
            features = h[..., torch.tensor([3, 1])][:, :, None, [1, 0]].flip(-1).squeeze(2).sort(-1)[0]
            return h + functional.relu(features).sum(-1, keepdim=True)

    model, rows = Moved(), sequences((5, 2, 7))
    found = diagnose(model, [padded(rows)], mask="attention_mask")
    agree(found, diagnose(model, alone(rows)))
    assert found.notes == ()


@pytest.mark.parametrize(
    ("lengths", "shape", "values", "note"),
    [
        ((5, 2, 7), (3, 7, D), 14, ""),
        ((4, 1, 2, 3), (4, 4, D), 16, "there are as many examples as positions, and the first axis may be either"),
        ((5, 2, 7), (21, D), 21, "whether examples or positions come first is not known; padding counts there"),
    ],
)
def test_what_cannot_be_followed_is_told_by_its_shape_or_noted(lengths, shape, values, note):
    class Strange(Encoder):
        def mix(self, h, mask):
            made = torch.from_numpy(h.reshape(shape).numpy().copy())
            return h + functional.relu(made).view(h.shape)

    found = diagnose(Strange(), [padded(sequences(lengths))], mask="attention_mask")
    assert found.sites[0].values == values
    assert note in "".join(found.notes)
    assert bool(found.notes) == bool(note)


def test_rows_that_cannot_be_followed_are_taken_for_the_real_tokens_with_a_note():
    class Strange(Encoder):
        def mix(self, h, mask):
            functional.relu(torch.from_numpy(h[mask].numpy().copy()))
            return h

    found = diagnose(Strange(), [padded(sequences((5, 2, 7)))], mask="attention_mask")
    assert found.sites[0].values == 14
    assert found.notes == ("relu: it has as many rows as there are real tokens, and is taken to hold these alone",)


def test_the_output_of_a_recurrent_network_may_be_packed_and_unpacked():
    model, rows = Recurrent(), sequences((5, 2, 7))
    found = diagnose(model, [padded(rows)], mask="attention_mask")
    agree(found, diagnose(model, alone(rows)))
    assert found.notes == ()


class Layers(nn.Module):
    """A Transformer of PyTorch's own, which has a fast path with nested tensors in eval mode."""

    def __init__(self, nested):
        super().__init__()
        layer = nn.TransformerEncoderLayer(D, 2, 12, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested)

    def forward(self, x, real=None):
        return self.encoder(x, src_key_padding_mask=None if real is None else ~real)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("lengths", [(5, 2, 7), (4, 1, 2, 3)], ids=["3x7", "4x4"])
def test_the_layers_of_pytorch_count_real_tokens_with_and_without_nested_tensors(nested, lengths):
    rows, x, real = signals(lengths)
    model = Layers(nested).eval()
    found = diagnose(model, [{"x": x, "real": real}], mask="real")
    agree(found, diagnose(model, [{"x": row[None]} for row in rows]))
    assert found.notes == ()


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_layers_count_once(reentrant):
    class Checkpointed(Encoder):
        def mix(self, h, mask):
            return checkpoint(super().mix, h, mask, use_reentrant=reentrant)

    model, plain, batch = Checkpointed(), Encoder(), padded(sequences((5, 2, 7)))
    plain.load_state_dict(model.state_dict())
    with Monitor(model, mask="attention_mask") as monitor:
        model(**batch).sum().backward()
    agree(monitor.diagnosis(), diagnose(plain, [batch], mask="attention_mask"))
    assert monitor.diagnosis().sites[0].values == 14


def test_counts_under_autocast_are_those_of_the_unpadded_sequences():
    model, rows = Encoder(), sequences((5, 2, 7))
    seen = []
    hook = model.up.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.autocast("cpu", torch.bfloat16):
        found = diagnose(model, [padded(rows)], mask="attention_mask")
        agree(found, diagnose(model, alone(rows)))
    hook.remove()
    real = seen[0][padded(rows)["attention_mask"].bool()]
    assert real.dtype == torch.bfloat16
    assert found.sites[0].fired.tolist() == (real > 0).sum(0).tolist()


def test_only_observed_passes_of_the_window_count():
    model = Encoder()
    batches = [padded(sequences(lengths)) for lengths in ((5, 2, 7), (1, 4), (3, 3), (2, 6, 1), (4,), (2, 2))]
    with Monitor(model, every=2, window=2, mask="attention_mask") as monitor:
        for batch in batches:
            model(**batch)
    agree(monitor.diagnosis(), diagnose(model, [batches[0], batches[2]], mask="attention_mask"))
    monitor.reset()
    with monitor:
        model(**batches[1])
    agree(monitor.diagnosis(), diagnose(model, [batches[1]], mask="attention_mask"))


@pytest.mark.parametrize(("where", "units"), [(1, []), (0, [2])])
def test_nan_matters_in_real_tokens_alone(where, units):
    class Poisoned(nn.Module):
        def forward(self, x):
            return functional.relu(x)

    _, x, real = signals((5, 2, 7))
    x[1, where * 4, 2] = torch.nan
    (site,) = diagnose(Poisoned(), [(x, real)], mask=lambda batch: batch[1]).sites
    assert site.nan.tolist() == units
    assert np.isnan(site.maximum).nonzero()[0].tolist() == units


def test_all_that_a_site_tells_is_of_real_tokens():
    _, x, real = signals((5, 2, 7))
    x = torch.where(real[..., None], x, -100.0)
    x[..., 0], x[..., 1] = x[..., 0].abs() + 1, 1e-3 * x[..., 1]
    x[1, 0, 3] = 1000.0
    x[1, 4, 3] = 2000.0  # padding
    (site,) = diagnose(nn.ReLU(), [(x, real)], mask=lambda batch: batch[1]).sites
    wanted = x[real]
    assert 0 in site.always_on
    assert 1 in site.dormant
    np.testing.assert_allclose(site.maximum, wanted.amax(0))
    np.testing.assert_allclose(site.mean_output, wanted.relu().double().mean(0), rtol=1e-6)
    np.testing.assert_array_equal(site.below, (wanted < 0).any(0))


def _rank(rank, store):
    torch.distributed.init_process_group("gloo", f"file://{store}", world_size=2, rank=rank)
    torch.manual_seed(0)
    model = Encoder()
    batches = [padded(sequences(lengths)) for lengths in ((5, 2, 7), (1, 4), (3, 3), (2, 2, 6, 1))]
    wrapped = nn.parallel.DistributedDataParallel(model)
    with Monitor(wrapped, mask="attention_mask") as monitor:
        for batch in batches[rank::2]:
            wrapped(**batch).sum().backward()
    agree(monitor.diagnosis(), diagnose(model, batches, mask="attention_mask"))
    assert monitor.diagnosis().examples == 11
    torch.distributed.destroy_process_group()
    os._exit(0)  # the threads of gloo do not always end by themselves


@pytest.mark.slow
def test_two_processes_add_up_their_real_tokens(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_rank, args=(rank, tmp_path / "store")) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
