"""The layouts: names, shapes, counts, buffers and initializers as published, and a forward pass of each tiny form."""

import functools
import math
import re

import pytest
import torch
from torch import nn

from bench_core.suite import lazy, oracles
from bench_core.suite.layouts import FULL, LAYOUTS, TINY, Model
from bench_core.suite.layouts.bert import Bert, BertConfig
from bench_core.suite.layouts.gpt2 import Gpt2, Gpt2Config
from bench_core.suite.layouts.llama import Llama, LlamaConfig, rotated

PUBLISHED = {
    # torchvision 0.29: `num_params` of ResNet50_Weights and of ViT_B_16_Weights.
    "resnet50": 25_557_032,
    "vit-b16": 86_567_656,
    # `num_parameters()` of transformers, which counts a tied weight once; for Llama also "total" of the safetensors
    # files on the model cards, which hold it once.
    "gpt2": 124_439_808,
    "bert-base": 109_482_240,
    "llama-135m": 134_515_008,
    "llama-1b": 1_235_814_400,
    "llama-3b": 3_212_749_824,
    "llama-8b": 8_030_261_248,
    "mlp": 4 * 8 + 8 + 8 * 1 + 1,
}


@functools.cache
def on_meta(layout):
    """The layout on meta. Nothing changes it, so that all tests can have the same one."""
    with torch.device("meta"):
        return layout.build()


def seeded(layout):
    torch.manual_seed(0)
    return layout.build()


def shapes(*lines):
    """``"a.weight 3x4"`` -> ``{"a.weight": (3, 4)}``; ``1`` is a vector of one element, and ``-`` a scalar."""
    pairs = (line.split() for line in lines)
    return {name: () if shape == "-" else tuple(int(side) for side in shape.split("x")) for name, shape in pairs}


def normalization(name, width):
    return (f"{name}.weight {width}", f"{name}.bias {width}")


def linear(name, inputs, outputs):
    return (f"{name}.weight {outputs}x{inputs}", f"{name}.bias {outputs}")


def batch_normalization(name, channels):
    statistics = (f"{name}.running_mean {channels}", f"{name}.running_var {channels}", f"{name}.num_batches_tracked -")
    return (*normalization(name, channels), *statistics)


def resnet50():
    lines = ["conv1.weight 64x3x7x7", *batch_normalization("bn1", 64)]
    inputs = 64
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], 1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            lines += [f"{name}.conv1.weight {width}x{inputs}x1x1", *batch_normalization(f"{name}.bn1", width)]
            lines += [f"{name}.conv2.weight {width}x{width}x3x3", *batch_normalization(f"{name}.bn2", width)]
            lines += [f"{name}.conv3.weight {4 * width}x{width}x1x1", *batch_normalization(f"{name}.bn3", 4 * width)]
            if block == 0:
                lines += [f"{name}.downsample.0.weight {4 * width}x{inputs}x1x1"]
                lines += batch_normalization(f"{name}.downsample.1", 4 * width)
            inputs = 4 * width
    return shapes(*lines, *linear("fc", 2048, 1000))


def vit_b16():
    lines = ["class_token 1x1x768", "conv_proj.weight 768x3x16x16", "conv_proj.bias 768"]
    lines += ["encoder.pos_embedding 1x197x768"]
    for index in range(12):
        name = f"encoder.layers.encoder_layer_{index}"
        lines += normalization(f"{name}.ln_1", 768)
        lines += [f"{name}.self_attention.in_proj_weight 2304x768", f"{name}.self_attention.in_proj_bias 2304"]
        lines += linear(f"{name}.self_attention.out_proj", 768, 768)
        lines += normalization(f"{name}.ln_2", 768)
        lines += [*linear(f"{name}.mlp.0", 768, 3072), *linear(f"{name}.mlp.3", 3072, 768)]
    return shapes(*lines, *normalization("encoder.ln", 768), *linear("heads.head", 768, 1000))


def gpt2():
    lines = ["transformer.wte.weight 50257x768", "transformer.wpe.weight 1024x768"]
    for index in range(12):
        name = f"transformer.h.{index}"
        lines += normalization(f"{name}.ln_1", 768)
        lines += [f"{name}.attn.c_attn.weight 768x2304", f"{name}.attn.c_attn.bias 2304"]
        lines += [f"{name}.attn.c_proj.weight 768x768", f"{name}.attn.c_proj.bias 768"]
        lines += normalization(f"{name}.ln_2", 768)
        lines += [f"{name}.mlp.c_fc.weight 768x3072", f"{name}.mlp.c_fc.bias 3072"]
        lines += [f"{name}.mlp.c_proj.weight 3072x768", f"{name}.mlp.c_proj.bias 768"]
    return shapes(*lines, *normalization("transformer.ln_f", 768), "lm_head.weight 50257x768")


def bert_base():
    lines = [f"embeddings.{name}_embeddings.weight {rows}x768" for name, rows in BERT_EMBEDDINGS.items()]
    lines += normalization("embeddings.LayerNorm", 768)
    for index in range(12):
        name = f"encoder.layer.{index}"
        for part in ("query", "key", "value"):
            lines += linear(f"{name}.attention.self.{part}", 768, 768)
        lines += linear(f"{name}.attention.output.dense", 768, 768)
        lines += normalization(f"{name}.attention.output.LayerNorm", 768)
        lines += [*linear(f"{name}.intermediate.dense", 768, 3072), *linear(f"{name}.output.dense", 3072, 768)]
        lines += normalization(f"{name}.output.LayerNorm", 768)
    return shapes(*lines, *linear("pooler.dense", 768, 768))


BERT_EMBEDDINGS = {"word": 30522, "position": 512, "token_type": 2}


def llama(width, hidden, keys, layers, vocabulary=128_256):
    lines = [f"model.embed_tokens.weight {vocabulary}x{width}"]
    for index in range(layers):
        name = f"model.layers.{index}"
        lines += [f"{name}.self_attn.q_proj.weight {width}x{width}", f"{name}.self_attn.k_proj.weight {keys}x{width}"]
        lines += [f"{name}.self_attn.v_proj.weight {keys}x{width}", f"{name}.self_attn.o_proj.weight {width}x{width}"]
        lines += [f"{name}.mlp.gate_proj.weight {hidden}x{width}", f"{name}.mlp.up_proj.weight {hidden}x{width}"]
        lines += [f"{name}.mlp.down_proj.weight {width}x{hidden}", f"{name}.input_layernorm.weight {width}"]
        lines += [f"{name}.post_attention_layernorm.weight {width}"]
    return shapes(*lines, f"model.norm.weight {width}", f"lm_head.weight {vocabulary}x{width}")


# The state dicts of torchvision 0.29.1 and transformers 5.24.0, name by name and in their order. The widths of Llama
# are those of the config.json on the model cards.
STATE_DICTS = {
    "mlp": shapes(*linear("0", 4, 8), *linear("2", 8, 1)),
    "resnet50": resnet50(),
    "vit-b16": vit_b16(),
    "gpt2": gpt2(),
    "bert-base": bert_base(),
    "llama-135m": llama(576, 1536, 192, 30, 49_152),
    "llama-1b": llama(2048, 8192, 512, 16),
    "llama-3b": llama(3072, 8192, 1024, 28),
    "llama-8b": llama(4096, 14_336, 1024, 32),
}


@pytest.mark.parametrize("name", FULL)
def test_a_layout_has_the_published_number_of_parameters(name):
    found = sum(parameter.numel() for parameter in on_meta(FULL[name]).parameters())
    assert found == PUBLISHED[name] == FULL[name].elements
    assert FULL[name].source


@pytest.mark.parametrize("name", FULL)
def test_a_layout_has_the_published_names_and_shapes_in_their_order(name):
    found = {key: tuple(tensor.shape) for key, tensor in on_meta(FULL[name]).state_dict().items()}
    assert list(found.items()) == list(STATE_DICTS[name].items())


@pytest.mark.parametrize("layout", TINY.values(), ids=TINY)
def test_a_tiny_layout_says_how_many_elements_it_has(layout):
    assert sum(parameter.numel() for parameter in on_meta(layout).parameters()) == layout.elements


@pytest.mark.parametrize("layout", FULL.values(), ids=FULL)
def test_a_tiny_form_has_the_kinds_of_tensors_of_the_full_one(layout):
    """Names apart from the numbers of layers, dimensions, dtypes, persistence and ties."""

    def kinds(each):
        return {
            (re.sub(r"\d+", "*", name), tensor.dim(), tensor.dtype, persistent)
            for name, tensor, persistent in oracles.held(on_meta(each))
        }

    tiny = LAYOUTS[layout.tiny]
    assert kinds(tiny) == kinds(layout)
    assert tiny.ties == layout.ties
    assert tiny.elements < 50_000
    assert tiny.tiny == tiny.name


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_names_its_ties(layout):
    assert oracles.tied_names(on_meta(layout)) == [list(names) for names in layout.ties]


def test_gpt2_and_the_small_llamas_are_tied():
    assert {name for name, layout in FULL.items() if layout.ties} == {"gpt2", "llama-135m", "llama-1b", "llama-3b"}


# Buffers that no state dict holds


def computed(layout):
    return {name: buffer for name, buffer, saved in oracles.held(seeded(layout)) if not saved}


def test_the_mask_of_gpt2_lets_each_token_see_itself_and_the_tokens_before_it():
    found = computed(TINY["gpt2-tiny"])
    assert list(found) == ["transformer.h.0.attn.bias", "transformer.h.1.attn.bias"]
    mask = found["transformer.h.0.attn.bias"]
    assert (mask.dtype, mask.shape) == (torch.bool, (1, 1, 32, 32))
    assert all(bool(mask[0, 0, i, j]) == (j <= i) for i in range(32) for j in range(32))


def test_the_position_ids_of_bert_count_and_its_token_type_ids_are_zero():
    found = computed(TINY["bert-base-tiny"])
    assert {name: buffer.tolist() for name, buffer in found.items()} == {
        "embeddings.position_ids": [list(range(32))],
        "embeddings.token_type_ids": [[0] * 32],
    }


def test_the_frequencies_of_llama_are_kept_where_they_are_high_and_divided_where_they_are_low():
    found = computed(TINY["llama-1b-tiny"])
    assert list(found) == ["model.rotary_emb.inv_freq"]
    # Heads of 8 features: exponents 0, 1/4, 1/2 and 3/4 of 500000. In 8192 tokens they turn 1303.8, 49.03, 1.844 and
    # 0.069 times. From 4 turns on they are kept, up to 1 divided by 32, and the share kept of the third is 0.2813.
    base = [500_000 ** (-quarter / 4) for quarter in range(4)]
    kept = (8192 * base[2] / (2 * math.pi) - 1) / (4 - 1)
    assert kept == pytest.approx(0.2813, abs=1e-4)
    expected = [base[0], base[1], (1 - kept) * base[2] / 32 + kept * base[2], base[3] / 32]
    assert found["model.rotary_emb.inv_freq"].tolist() == pytest.approx(expected, rel=1e-5)


def test_a_state_dict_of_resnet_holds_the_statistics_of_its_batch_normalizations():
    state = seeded(TINY["resnet50-tiny"]).state_dict()
    assert state["bn1.running_mean"].tolist() == [0] * 4
    assert state["bn1.running_var"].tolist() == [1] * 4
    assert state["bn1.num_batches_tracked"] == 0


@pytest.mark.parametrize("name", ["mlp", "resnet50-tiny", "vit-b16-tiny"])
def test_the_other_layouts_have_no_buffer_that_a_state_dict_lacks(name):
    assert not computed(LAYOUTS[name])


# Forward and backward


@pytest.mark.parametrize("name", ["mlp", *TINY])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layout_takes_its_example_and_every_parameter_gets_a_gradient(name, dtype):
    model = seeded(LAYOUTS[name]).to(dtype)
    outputs = model(*LAYOUTS[name].example(model))
    assert outputs.dtype is dtype
    assert outputs.isfinite().all()
    outputs.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("layout", FULL.values(), ids=FULL)
def test_the_example_of_a_full_layout_fits_its_shapes(layout):
    model = on_meta(layout)
    assert model(*layout.example(model)).is_meta


@pytest.mark.parametrize("name", ["gpt2-tiny", "llama-1b-tiny", "llama-8b-tiny"])
def test_a_later_token_does_not_change_what_a_causal_model_says_of_earlier_ones(name):
    model = seeded(LAYOUTS[name]).eval()
    (tokens,) = LAYOUTS[name].example(model)
    changed = tokens.clone()
    changed[0, -1] = (tokens[0, -1] + 1) % 256
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(after[:, :-1], before[:, :-1])
    assert not torch.allclose(after[:, -1], before[:, -1])


ONE_LAYER = {
    "gpt2": lambda: Gpt2(Gpt2Config(vocabulary=256, positions=32, width=32, layers=1, heads=2)),
    "bert": lambda: Bert(BertConfig(vocabulary=256, positions=32, width=32, layers=1, heads=2, hidden=64)),
    "llama": lambda: Llama(LlamaConfig(256, 32, 64, layers=1, heads=4, key_heads=2, tied=True)),
}


@pytest.mark.parametrize("name", ONE_LAYER)
def test_a_model_knows_the_order_of_its_tokens(name):
    """Without positions, the order of the others does not matter to the last token of one layer (BERT: the first)."""
    torch.manual_seed(0)
    model = ONE_LAYER[name]().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter)  # far larger than the initial weights, with which attention is nearly uniform
    tokens = torch.arange(8)[None]
    swapped = tokens[:, [0, 3, 2, 1, 4, 5, 6, 7]]
    one, other = (outputs if name == "bert" else outputs[:, -1] for outputs in (model(tokens), model(swapped)))
    assert (one - other).abs().max() > 1e-2


def test_a_vision_transformer_knows_the_order_of_its_patches():
    model = seeded(TINY["vit-b16-tiny"]).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    (images,) = TINY["vit-b16-tiny"].example(model)
    assert (model(images) - model(images.roll(16, dims=-1))).abs().max() > 1e-2


def test_llama_turns_each_head_by_its_position_so_that_products_depend_on_the_distance_alone():
    model = seeded(TINY["llama-8b-tiny"])
    cosines, sines = model.model.rotary_emb(torch.zeros(1, 12, 32))
    query, key = torch.randn(2, 8)
    turned, other = (rotated(vector.expand(12, 8), cosines, sines) for vector in (query, key))
    torch.testing.assert_close(turned.norm(dim=-1), query.norm().expand(12))
    for distance in (0, 1, 5):
        products = (turned[distance:] * other[: 12 - distance]).sum(-1)
        torch.testing.assert_close(products, products[:1].expand(len(products)), atol=1e-5, rtol=1e-5)
    assert abs(turned[5] @ other[0] - turned[0] @ other[0]) > 1e-2


# Initializers


def pooled(model, pattern, std):
    """The elements of all parameters whose name matches, each divided by its standard deviation."""
    parts = [
        parameter.detach().flatten() / (std(parameter) if callable(std) else std)
        for name, parameter in model.named_parameters()
        if re.fullmatch(pattern, name)
    ]
    assert parts, pattern
    return torch.cat(parts)


def fan_out(weight):
    return weight.shape[0] * math.prod(weight.shape[2:])


NORMAL = oracles.normal_cdf(0, 1)
UNIT = oracles.uniform_cdf(-1, 1)

DRAWN = [
    # torchvision/models/resnet.py: kaiming_normal_ of each convolution by fan_out, and nn.Linear's own draw.
    ("resnet50-tiny", r".*conv\d.*|.*downsample\.0.*", NORMAL, lambda weight: math.sqrt(2 / fan_out(weight))),
    ("resnet50-tiny", r"fc\..*", UNIT, 128**-0.5),
    # torchvision/models/vision_transformer.py
    ("vit-b16-tiny", r".*mlp.*weight", UNIT, lambda weight: math.sqrt(6 / sum(weight.shape))),
    ("vit-b16-tiny", r".*mlp.*bias", NORMAL, 1e-6),
    ("vit-b16-tiny", r".*pos_embedding", NORMAL, 0.02),
    ("vit-b16-tiny", r".*in_proj_weight", UNIT, lambda weight: math.sqrt(6 / sum(weight.shape))),
    ("vit-b16-tiny", r".*out_proj.weight", UNIT, 32**-0.5),
    ("vit-b16-tiny", r"conv_proj.weight", NORMAL, (3 * 16 * 16) ** -0.5),
    # `_init_weights` of transformers: 0.02, and 0.02 / sqrt(2 layers) for what GPT-2 adds to its residual stream.
    ("gpt2-tiny", r".*(wte|wpe|c_attn|c_fc)\.weight", NORMAL, 0.02),
    ("gpt2-tiny", r".*c_proj.weight", NORMAL, 0.02 / math.sqrt(4)),
    ("bert-base-tiny", r".*(dense|query|key|value|position_embeddings)\.weight", NORMAL, 0.02),
    ("llama-1b-tiny", r".*(proj|embed_tokens)\.weight", NORMAL, 0.02),
    ("llama-8b-tiny", r".*(proj|embed_tokens|lm_head)\.weight", NORMAL, 0.02),
]

FILLED = [
    ("resnet50-tiny", r".*bn\d\.weight|.*downsample\.1\.weight", 1),
    ("resnet50-tiny", r".*bn\d\.bias|.*downsample\.1\.bias", 0),
    ("vit-b16-tiny", r".*ln(_\d)?\.weight", 1),
    ("vit-b16-tiny", r".*ln(_\d)?\.bias|.*proj(_|\.)bias|class_token|heads.*", 0),
    ("gpt2-tiny", r".*ln_.\.weight", 1),
    ("gpt2-tiny", r".*bias", 0),
    ("bert-base-tiny", r".*LayerNorm\.weight", 1),
    ("bert-base-tiny", r".*bias", 0),
    ("llama-1b-tiny", r".*norm\.weight", 1),
    ("llama-8b-tiny", r".*norm\.weight", 1),
]


def again(name):
    """A model that has only got its values from `init_weights` and `tie_weights`."""
    with lazy.poisoned_memory():
        with torch.device("meta"):
            model = LAYOUTS[name].build()
        model.to_empty(device="cpu")
    torch.manual_seed(1)
    model.init_weights()
    model.tie_weights()
    return model


@pytest.mark.parametrize("made", [lambda name: seeded(LAYOUTS[name]), again], ids=["constructed", "initialized"])
@pytest.mark.parametrize(("name", "pattern", "cdf", "std"), DRAWN)
def test_weights_are_drawn_from_the_distribution_of_the_original(made, name, pattern, cdf, std):
    found = pooled(made(name), pattern, std)
    oracles.distributed(found, cdf, pattern)
    # The relative error of the estimate from n normal draws is 1 / sqrt(2 n): six of them.
    assert found.std() == pytest.approx(1 if cdf is NORMAL else 3**-0.5, rel=6 / math.sqrt(2 * len(found)))


@pytest.mark.parametrize("made", [lambda name: seeded(LAYOUTS[name]), again], ids=["constructed", "initialized"])
@pytest.mark.parametrize(("name", "pattern", "value"), FILLED)
def test_parameters_are_filled_as_in_the_original(made, name, pattern, value):
    oracles.filled_with(pooled(made(name), pattern, 1), value, pattern)


@pytest.mark.parametrize("name", TINY)
def test_every_parameter_of_a_tiny_layout_is_in_one_of_the_tables_above(name):
    patterns = [pattern for layout, pattern, *_ in [*DRAWN, *FILLED] if layout == name]
    rest = {
        each for each, _ in seeded(LAYOUTS[name]).named_parameters() if not any(re.fullmatch(p, each) for p in patterns)
    }
    # Embeddings with two rows, or with one row of zeros, have a test of their own.
    special = {"embeddings.word_embeddings.weight", "embeddings.token_type_embeddings.weight"}
    assert rest == (special if name == "bert-base-tiny" else set())


@pytest.mark.parametrize("made", [lambda name: seeded(LAYOUTS[name]), again], ids=["constructed", "initialized"])
def test_the_embedding_of_berts_padding_is_zero_and_the_others_are_drawn(made):
    embeddings = made("bert-base-tiny").embeddings
    words = embeddings.word_embeddings.weight
    assert not words[0].any()
    oracles.distributed(words[1:] / 0.02, NORMAL, "word embeddings")
    oracles.distributed(embeddings.token_type_embeddings.weight / 0.02, NORMAL, "token type embeddings")


@pytest.mark.parametrize("name", TINY)
def test_a_model_from_meta_is_complete_after_it_is_initialized_and_tied(name):
    found, expected = again(name), seeded(LAYOUTS[name])
    assert isinstance(found, Model)
    oracles.same_tensors(found, expected, "cpu")
    for key, tensor, _ in oracles.held(found):
        assert not tensor.isnan().any(), key
        if not isinstance(tensor, nn.Parameter):
            oracles.identical(tensor, expected.get_buffer(key), key)
