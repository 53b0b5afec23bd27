"""The architectures of `benchmarks.zoo`, by family: how each is built, small and with random weights, and its input."""

import enum
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is downloaded, even by accident

Batch = Any  # a tensor, or a dictionary of keyword arguments


class Architecture(NamedTuple):
    """One architecture."""

    name: str
    build: Callable[[], nn.Module]
    batch: Batch


class Family(NamedTuple):
    """The architectures that a library offers."""

    packages: str  # what to install with pip
    architectures: Callable[[], Iterator[Architecture]]  # raises an ImportError if something is missing
    needs_torchvision: bool = False


def _given(**values: Any) -> dict[str, Any]:
    return values


def _image(size: int, channels: int = 3, axes: int = 2) -> Tensor:
    """Two images, or two volumes where there are three axes."""
    return torch.rand(2, channels, *[size] * axes)


# --- transformers ----------------------------------------------------------------------------------------------------

# What makes a model small. A setting is used where the configuration has an attribute of that name.
_SMALL = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "hidden_dim", "dim", "emb_dim", "embed_dim"), 32),
    **dict.fromkeys(("embedding_size", "moe_intermediate_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "encoder_layers", "decoder_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim", "ffn_dim", "d_ff"), 64),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "image_size"), 64),
    **_given(vocab_size=128, pad_token_id=0, bos_token_id=1, eos_token_id=2, num_key_value_heads=2, head_dim=8, d_kv=8),
    **_given(patch_size=16, num_channels=3, num_experts=4, num_local_experts=4, num_experts_per_tok=2),
}

# The names that configurations give to the activation.
_ACTIVATION_SETTINGS = (
    *("hidden_act", "hidden_activation", "activation_function", "activation", "afn", "act_fn", "activation_fn"),
    *("feed_forward_proj", "dense_act_fn", "conv_act", "feat_extract_activation", "projector_hidden_act"),
)

# Names of types with the same input and settings; the kind of their input; the settings, besides those above.
_STAGES = _given(hidden_sizes=[16, 32], depths=[1, 1], embedding_size=16)
_RESNET = _given(model_type="resnet", **_STAGES)
_TRANSFORMERS = (
    (
        """
        albert apertus apertus1p5_text arcee aria_text bart beam bert bert-generation big_bird bigbird_pegasus biogpt
        bitnet bloom camembert clip_text_model cohere cohere2 cohere2_moe convbert cpmant ctrl cwm data2vec-text
        deberta deberta-v2 diffllama distilbert doge dory dpr electra ernie ernie4_5 ernie4_5_moe esm eurobert exaone
        exaone4 falcon_h1 falcon_mamba flaubert flex_olmo flint fnet fsmt gemma gemma2 gemma3_text glm glm4 glm4_moe
        gpt2 gpt_bigcode gpt_neox gpt_neox_japanese gpt_oss granite granite_swa granitemoe granitemoeshared gte helium
        hrm_text hunyuan_v1_dense hunyuan_v1_moe hyperclovax ibert imagegpt internlm3 jais2 jetmoe jina_embeddings_v3
        layoutlm led lfm2 llama llama4_text longformer mamba markuplm mbart megatron-bert minimax ministral mistral
        mixtral mobilebert modernbert modernbert-decoder molmo2_text moshi mpnet mpt mra mvp nanochat nemotron
        nomic_bert nystromformer olmo olmo2 olmo3 olmo_hybrid olmoe openai-gpt openai_privacy_filter opt persimmon phi
        phi3 phimoe plbart qwen2 qwen2_moe qwen3 qwen3_moe qwen3_vl_text rembert roberta roberta-prelayernorm roformer
        rwkv seed_oss smollm3 splinter squeezebert stablelm starcoder2 tapas vaultgemma visual_bert xglm xlm
        xlm-roberta xlm-roberta-xl yoso
        """,
        "text",
        {},
    ),
    (
        """
        blenderbot blenderbot-small longt5 m2m_100 marian mt5 nllb-moe pegasus pegasus_x switch_transformers
        t5 umt5
        """,
        "two texts",
        {},
    ),
    (
        """
        aimv2_vision_model beit chinese_clip_vision_model clip_vision_model data2vec-vision deit dinov2
        dinov2_with_registers dinov3_vit dpt focalnet idefics3_vision ijepa internvl_vision mlcd mobilenet_v1
        mobilenet_v2 mobilevit pixtral pp_ocrv6_small_rec sam_hq_vision_model sam_vision_model sapiens2
        siglip_vision_model swiftformer vit vit_mae vit_msn vitdet
        """,
        "image",
        {},
    ),
    ("data2vec-audio hubert sew sew-d unispeech unispeech-sat wav2vec2 wav2vec2-conformer wavlm", "sound", {}),
    ("resnet convnext convnextv2", "image", _given(num_stages=2, **_STAGES)),
    ("bit", "image", _given(num_groups=4, **_STAGES)),
    ("regnet", "image", _given(groups_width=8, **_STAGES)),
    (
        "poolformer",
        "image",
        _given(num_encoder_blocks=2, patch_sizes=[7, 3], strides=[4, 2], padding=[2, 1], **_STAGES),
    ),
    ("segformer", "image", _given(num_encoder_blocks=2, sr_ratios=[2, 1], num_attention_heads=[1, 2], **_STAGES)),
    (
        "swin swinv2 donut-swin maskformer-swin",
        "image",
        _given(depths=[1, 1], num_heads=[2, 2], window_size=4, patch_size=4),
    ),
    ("efficientnet", "image", _given(width_coefficient=0.25, depth_coefficient=0.2, hidden_dim=320)),
    ("levit", "image", _given(hidden_sizes=[32, 48, 64], depths=[1, 1, 1], key_dim=[8, 8, 8])),
    ("yolos", "image", _given(image_size=[64, 64], num_detection_tokens=5)),
    ("hiera", "image", _given(image_size=[64, 64], depths=[1, 1], num_heads=[1, 2], num_query_pool=1)),
    (
        "detr table-transformer conditional_detr deformable_detr dab-detr",
        "image",
        _given(use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=_RESNET),
    ),
    ("whisper", "spectrum and text", _given(num_mel_bins=8, max_source_positions=16)),
    ("speech_to_text", "frames and text", _given(input_feat_per_channel=8, conv_channels=16)),
    ("audio-spectrogram-transformer", "spectrum", _given(max_length=64, num_mel_bins=32)),
    ("wav2vec2-bert", "frames", _given(feature_projection_input_dim=8)),
    ("encodec", "waves", _given(num_filters=4, codebook_size=8)),
    (
        "univnet",
        "frames",
        _given(model_hidden_channels=8, kernel_predictor_hidden_channels=8, num_mel_bins=8, model_in_channels=8),
    ),
    (
        "time_series_transformer informer",
        "series",
        _given(prediction_length=2, context_length=8, lags_sequence=[1, 2], num_time_features=1),
    ),
    (
        "patchtst patchtsmixer",
        "values",
        _given(context_length=32, patch_length=8, patch_stride=8, num_input_channels=2),
    ),
    ("decision_transformer", "steps", _given(state_dim=3, act_dim=2)),
    ("videomae timesformer", "film", _given(num_frames=4, tubelet_size=2)),
    ("vivit", "film", _given(num_frames=4, tubelet_size=[2, 16, 16])),
    ("vilt", "image and text", {}),
    ("bros", "text and boxes", _given(hidden_size=64)),
    ("zaya", "text", _given(num_experts_per_tok=1)),
    ("xlnet falcon", "text", {}),
    ("prophetnet", "two texts", _given(num_encoder_layers=1, num_decoder_layers=1)),
    ("gptj codegen", "text", _given(rotary_dim=4)),
    ("gpt_neo", "text", _given(attention_types=[[["global", "local"], 1]])),
    ("reformer", "text", _given(axial_pos_embds=False, attn_layers=["local", "local"])),
)


def _inputs() -> dict[str, Batch]:
    """The inputs of the transformers, by kind."""
    text, pixels = _given(input_ids=torch.arange(5, 13).repeat(2, 1)), _given(pixel_values=_image(64))
    decoder = _given(decoder_input_ids=text["input_ids"])
    return {
        "text": text,
        "two texts": text | decoder,
        "image": pixels,
        "image and text": text | pixels,
        "text and boxes": text | _given(bbox=torch.rand(2, 8, 4)),
        "film": _given(pixel_values=torch.rand(2, 4, 3, 64, 64)),
        "sound": _given(input_values=torch.randn(2, 2000)),
        "waves": _given(input_values=torch.randn(2, 1, 2000)),
        "spectrum": _given(input_values=torch.randn(2, 64, 32)),
        "spectrum and text": _given(input_features=torch.randn(2, 8, 32), **decoder),
        "frames": _given(input_features=torch.randn(2, 16, 8)),
        "frames and text": _given(input_features=torch.randn(2, 32, 8), **decoder),
        "values": _given(past_values=torch.randn(2, 32, 2)),
        "series": _given(past_values=torch.randn(2, 10), past_time_features=torch.randn(2, 10, 1))
        | _given(past_observed_mask=torch.ones(2, 10), future_time_features=torch.randn(2, 2, 1))
        | _given(future_values=torch.randn(2, 2)),
        "steps": _given(states=torch.randn(2, 4, 3), actions=torch.randn(2, 4, 2), rewards=torch.randn(2, 4, 1))
        | _given(returns_to_go=torch.randn(2, 4, 1), timesteps=torch.arange(4).repeat(2, 1))
        | _given(attention_mask=torch.ones(2, 4)),
    }


def _transformers() -> Iterator[Architecture]:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    inputs = _inputs()
    for names, kind, settings in _TRANSFORMERS:
        for name in names.split():
            for activation in (None, "relu") if _has_other(CONFIG_MAPPING[name]()) else (None,):
                title = f"{name} with {activation}" if activation else name
                yield Architecture(title, partial(_transformer, name, settings, activation), inputs[kind])


def _transformer(name: str, settings: dict[str, Any], activation: str | None) -> nn.Module:
    """A small model of this type, with this activation or that of its configuration."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import AutoModel

    kind = CONFIG_MAPPING[name]
    default = kind()
    small = {key: value for key, value in _SMALL.items() if _is_single(kind, default, key)}
    configuration = kind(**{**small, **settings})
    for key in _ACTIVATION_SETTINGS if activation else ():
        if isinstance(getattr(configuration, key, None), str):
            setattr(configuration, key, activation)
    model: nn.Module = AutoModel.from_config(configuration)
    return model


def _has_other(configuration: Any) -> bool:
    """Whether the configuration names an activation that is not ReLU."""
    named = [getattr(configuration, key, None) for key in _ACTIVATION_SETTINGS]
    return any(isinstance(name, str) and name != "relu" for name in named)


def _is_single(kind: type, configuration: Any, key: str) -> bool:
    """Whether the configuration has this setting, it can be set, and it is no list with an item per layer."""
    is_computed = isinstance(getattr(kind, key, None), property)
    return not is_computed and hasattr(configuration, key) and not isinstance(getattr(configuration, key), list | tuple)


# --- pytorchcv, timm, segmentation-models-pytorch --------------------------------------------------------------------

_PYTORCHCV = {  # by the size of the image
    32: """
        densenet40_k12_bc_cifar10 diapreresnet20_cifar10 diaresnet20_cifar10 fractalnet_cifar10
        msdnet22_cifar10 nin_cifar10 preresnet20_cifar10 pyramidnet110_a48_cifar10 resdropresnet20_cifar10
        resnet20_cifar10 resnext20_32x2d_cifar10 rir_cifar10 ror3_56_cifar10 sepreresnet20_cifar10
        seresnet20_cifar10 shakedropresnet20_cifar10 shakeshakeresnet20_2x16d_cifar10 wrn16_10_cifar10
        wrn20_10_1bit_cifar10 xdensenet40_2_k24_bc_cifar10
    """,
    64: """
        centernet_resnet18_voc cgnet_cityscapes ctxnet_cityscapes dabnet_cityscapes dicenet_wd5
        edanet_cityscapes efficientnet_b0 efficientnet_edge_small_b enet_cityscapes erfnet_cityscapes
        esnet_cityscapes espcnet_cityscapes fcn8sd_resnetd50b_cityscapes fpenet_cityscapes isqrtcovresnet18
        lednet_cityscapes linknet_cityscapes lwopenpose2d_mobilenet_cmupan_coco prnet regnetx002 resnestabc14
        resneta10 segnet_cityscapes simplepose_mobile_mobilenetv3_small_w1_coco simplepose_resnet18_coco
        sqnet_cityscapes unet_cityscapes
    """,
    224: """
        airnet50_1x64d_r16 alexnetb bam_resnet18 bninception cbam_resnet18 channelnet condensenet74_c8_g8
        darknet_tiny darts diapreresnet10 diaresnet10 diracnet18v2 dla46xc dpn68 drnd22 espnetv2_wd2 fbnet_cb
        fdmobilenet_wd4 fishnet99 ghostnet hardnet39ds hrnet_w18_small_v1 ibn_densenet121 ibn_resnet50
        igcv3_wd4 lffd20x5s320v2_widerface menet108_8x1_g3 mixnet_s mnasnet_small mobilenet_wd4
        mobilenetv2b_wd4 mobilenetv3_small_w7d20 nasnet_4a1056 octresnet10_ad2 peleenet preresnet18_wd4
        proxylessnas_mobile resattnet56 resnet18_wd4 resnext14_32x2d revnet38 scnet50 selecsls42 senet16
        seresnet10 sharesnet18 shufflenet_g1_wd4 shufflenetv2_wd2 sknet50 sparsenet121 spnasnet sqnxt23_w1
        squeezenet_v1_1 vovnet27s
    """,
    256: "sinet_cityscapes",
    299: "inceptionv3 xception",
}


def _pytorchcv() -> Iterator[Architecture]:
    from pytorchcv.model_provider import get_model

    for size, names in _PYTORCHCV.items():
        for name in names.split():
            yield Architecture(name, partial(get_model, name), _image(size))


_TIMM = """
    cpubone_nano csatv2 cs3darknet_focus_s cspnext_tiny crossvit_tiny_240 davit_tiny densenet121 dla46x_c dpn48b
    edgenext_xx_small efficientvim_m1 efficientvit_b0 efficientvit_m0 ese_vovnet19b_slim_dw fasternet_t0
    fastvit_t8 focalnet_tiny_srf ghostnet_050 hardcorenas_b hgnetv2_b0 hrnet_w18_small iformer_t
    inception_next_atto lcnetv2_small legacy_seresnet18 legacy_xception lowformer_b0 mobilenetv3_small_050
    mobilevit_xxs mvitv2_tiny nextvit_small poolformerv2_s12 pvt_v2_b0 rdnet_tiny regnetx_002 repghostnet_050
    repvit_m1 res2net50_14w_8s resnest14d resnetv2_18 rexnet_100 sam2_hiera_tiny selecsls42 sequencer2d_s shvit_s1
    skresnet18 starnet_s050 swiftformer_xs test_byobnet test_convnext test_efficientnet test_mambaout test_nfnet
    test_resnet test_vit tiny_vit_5m_224 tresnet_m twins_svt_small vit_tiny_patch16_dinov3_qkvb xception41p
    xcit_nano_12_p8_224
"""
_TIMM_OF_ONE_SIZE = """
    cait_xxs24_224 coat_tiny convit_tiny deit_tiny_patch16_224 eca_botnext26ts_256 efficientformerv2_s0
    gcvit_xxtiny gmlp_ti16_224 hiera_tiny_224 levit_128s nest_tiny pit_ti_224 swin_tiny_patch4_window7_224
    swinv2_cr_tiny_224 swinv2_tiny_window16_256 test_coatnet test_vit_relpos tnt_s_legacy_patch16_224
    visformer_tiny vitamin_small_224 vit_tiny_r_s16_p8_224 volo_d1_224
"""
_TIMM_OF_224 = "efficientformer_l1 inception_v3"


def _timm() -> Iterator[Architecture]:
    from timm import create_model

    for name in _TIMM.split():
        yield Architecture(name, partial(create_model, name), _image(64))
    for name in _TIMM_OF_ONE_SIZE.split():
        yield Architecture(name, partial(create_model, name, img_size=64), _image(64))
    for name in _TIMM_OF_224.split():
        yield Architecture(name, partial(create_model, name), _image(224))


_DECODERS = "Unet UnetPlusPlus MAnet Linknet FPN PSPNet PAN DeepLabV3 DeepLabV3Plus UPerNet Segformer"
_ENCODERS = """
    dpn68 efficientnet-b0 inceptionresnetv2 inceptionv4 mit_b0 mobileone_s0 se_resnet50 timm-efficientnet-b0
    timm-skresnet18 timm-tf_efficientnet_lite0 tu-regnetx_002 xception
"""


def _segmentation_models() -> Iterator[Architecture]:
    import segmentation_models_pytorch as smp

    pairs = [(decoder, "tu-resnet18") for decoder in _DECODERS.split()]
    pairs += [("Unet", encoder) for encoder in _ENCODERS.split()]
    for decoder, encoder in pairs:
        build = partial(getattr(smp, decoder), encoder, encoder_weights=None)
        yield Architecture(f"{decoder} on {encoder}", build, _image(128))


class _Stub(ModuleType):
    """A module of torchvision whose classes can be named and subclassed, and no more."""

    __path__ = ()  # so that it counts as a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "InterpolationMode":
            return enum.Enum(name, "NEAREST NEAREST_EXACT BILINEAR BICUBIC BOX HAMMING LANCZOS")
        setattr(self, name, type(name, (nn.Module,), {}))
        return vars(self)[name]


_TORCHVISION = """
    torchvision torchvision.datasets torchvision.models torchvision.models.densenet
    torchvision.models.optical_flow torchvision.models.resnet torchvision.models.vgg torchvision.ops
    torchvision.ops.misc torchvision.transforms torchvision.transforms.functional
"""


def need_torchvision() -> None:
    """Put a stub in place of torchvision if it is not installed, or does not fit PyTorch and cannot be imported."""
    try:
        import_module("torchvision")
    except (ImportError, OSError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # what was imported before the error
        for name in _TORCHVISION.split():
            sys.modules[name] = _Stub(name)
            sys.modules[name].__spec__ = ModuleSpec(name, None)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, sys.modules[name])


# --- torch_geometric, stable-baselines3, MONAI -----------------------------------------------------------------------


def _torch_geometric() -> Iterator[Architecture]:
    from torch_geometric import nn as gnn
    from torch_geometric.nn import models

    nodes, start = torch.randn(12, 8), torch.arange(12)
    edges = torch.stack([start.repeat(2), torch.cat([start.roll(1), start.roll(5)])])
    graph, step = _given(x=nodes, edge_index=edges), "x, edge_index -> x"
    one_graph = _given(batch=torch.zeros(12, dtype=torch.long), **graph)

    for name in ("GCN", "GraphSAGE", "GIN", "GAT", "EdgeCNN"):
        yield Architecture(name, partial(getattr(models, name), 8, 16, 2, 4), graph)
    for act in ("elu", "silu", "gelu", "relu6"):
        yield Architecture(f"GCN with {act}", partial(models.GCN, 8, 16, 2, 4, act=act), graph)
    norm = partial(models.GraphSAGE, 8, 16, 2, 4, jk="cat", norm="batch", act_first=True)
    yield Architecture("GraphSAGE with BatchNorm", norm, graph)
    scaled = _given(aggregators=["mean", "max"], scalers=["identity"], deg=torch.tensor([0, 0, 12]))
    yield Architecture("PNA", partial(models.PNA, 8, 16, 2, 4, **scaled), graph)
    yield Architecture("MLP", lambda: models.MLP([8, 16, 16, 4]), nodes)
    yield Architecture("GraphUNet", lambda: models.GraphUNet(8, 16, 4, depth=2), graph)
    yield Architecture("LINKX", lambda: models.LINKX(12, 8, 16, 4, 2), graph)
    yield Architecture("PMLP", lambda: models.PMLP(8, 16, 4, 2), graph)
    yield Architecture("RECT_L", lambda: models.RECT_L(8, 16), graph)
    yield Architecture("NeuralFingerprint", lambda: models.NeuralFingerprint(8, 16, 4, 2), graph)
    yield Architecture("SGFormer", lambda: models.SGFormer(8, 16, 4), one_graph)
    yield Architecture("Polynormer", lambda: models.Polynormer(8, 16, 4), one_graph)
    features = _given(edge_attr=torch.randn(24, 3), **one_graph)
    yield Architecture("AttentiveFP", lambda: models.AttentiveFP(8, 16, 4, 3, 2, 2), features)
    signed = _given(x=nodes, pos_edge_index=edges[:, :12], neg_edge_index=edges[:, 12:])
    yield Architecture("SignedGCN", lambda: models.SignedGCN(8, 16, 2), signed)

    def deep() -> nn.Module:
        before = models.DeepGCNLayer(gnn.GENConv(8, 8), nn.LayerNorm(8), nn.ReLU(inplace=True))
        after = models.DeepGCNLayer(gnn.GENConv(8, 8), nn.LayerNorm(8), nn.ELU(), "res")
        return gnn.Sequential("x, edge_index", [(before, step), (after, step)])  # type: ignore[no-any-return]

    def attentive() -> nn.Module:
        mlp = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
        layers = [(gnn.TransformerConv(8, 16), step), nn.ReLU(inplace=True), (gnn.GINConv(mlp), step)]
        return gnn.Sequential("x, edge_index", layers)  # type: ignore[no-any-return]

    yield Architecture("DeepGCNLayer", deep, graph)
    yield Architecture("TransformerConv", attentive, graph)


def _stable_baselines() -> Iterator[Architecture]:
    import numpy as np
    from gymnasium import spaces
    from stable_baselines3.common import policies
    from stable_baselines3.dqn import policies as dqn
    from stable_baselines3.sac import policies as sac
    from stable_baselines3.td3 import policies as td3

    vector, action = spaces.Box(-1, 1, (6,), np.float32), spaces.Box(-1, 1, (2,), np.float32)
    screen, key = spaces.Box(0, 255, (3, 64, 64), np.uint8), spaces.Discrete(4)
    both = spaces.Dict({"screen": screen, "vector": vector})
    numbers, pixels = torch.randn(2, 6), torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)

    def built(policy: Any, seen: Any, done: Any, **settings: Any) -> Callable[[], nn.Module]:
        return partial(policy, seen, done, lambda _: 1e-3, net_arch=[16, 16], **settings)

    def batch(seen: Any) -> Batch:
        return _given(obs=seen, deterministic=True)

    for activation in (nn.ReLU, nn.SiLU, nn.ELU):
        build = built(policies.ActorCriticPolicy, vector, action, activation_fn=activation)
        yield Architecture(f"ActorCriticPolicy with {activation.__name__}", build, batch(numbers))
    several = _given(screen=pixels, vector=numbers)
    for name, policy, seen, done, value in (
        ("ActorCriticCnnPolicy", policies.ActorCriticCnnPolicy, screen, key, pixels),
        ("MultiInputActorCriticPolicy", policies.MultiInputActorCriticPolicy, both, key, several),
        ("SAC MlpPolicy", sac.MlpPolicy, vector, action, numbers),
        ("SAC CnnPolicy", sac.CnnPolicy, screen, action, pixels),
    ):
        yield Architecture(name, built(policy, seen, done), batch(value))
    yield Architecture("TD3 MlpPolicy", built(td3.MlpPolicy, vector, action), numbers)
    yield Architecture("TD3 CnnPolicy", built(td3.CnnPolicy, screen, action), pixels)
    for policy, seen, value in (
        (dqn.MlpPolicy, vector, numbers),
        (dqn.CnnPolicy, screen, pixels),
        (dqn.MultiInputPolicy, both, several),
    ):  # the policy itself gives the best action alone, which hardly depends on the activation
        network = partial(_q_network, built(policy, seen, key))
        yield Architecture(f"DQN {policy.__name__}", network, _given(obs=value))
    critic = _given(obs=numbers, actions=torch.ones(2, 2))
    yield Architecture("SAC critic", lambda: built(sac.MlpPolicy, vector, action)().critic, critic)


def _q_network(policy: Callable[[], Any]) -> nn.Module:
    network: nn.Module = policy().q_net
    return network


def _monai() -> Iterator[Architecture]:
    from monai.networks import nets

    flat, unet = _given(spatial_dims=2, in_channels=1, out_channels=2), _given(channels=(4, 8, 16), strides=(2, 2))
    classes = _given(spatial_dims=2, num_classes=2)
    patches = _given(in_channels=1, img_size=64, hidden_size=24, mlp_dim=48, num_heads=3, spatial_dims=2)
    attention = _given(attention_levels=(False, True), norm_num_groups=8, num_res_blocks=(1, 1))
    codes = _given(channels=(8, 8), num_res_channels=(8, 8), num_res_layers=1, num_embeddings=8, embedding_dim=4)
    codes |= _given(downsample_parameters=((2, 4, 1, 1),) * 2, upsample_parameters=((2, 4, 1, 1, 0),) * 2)
    images, timed = _image(64, 1), _given(x=_image(32, 1), timesteps=torch.tensor([1, 5]))
    for name, settings in {
        "AttentionUnet": flat | unet,
        "AutoEncoder": flat | _given(channels=(4, 8), strides=(2, 2)),
        "AutoencoderKL": flat | _given(channels=(8, 8), latent_channels=2) | attention,
        "BasicUNet": flat | _given(features=(4, 4, 8, 8, 8, 4)),
        "BasicUNetPlusPlus": flat | _given(features=(4, 4, 8, 8, 8, 4)),
        "DenseNet121": flat | _given(init_features=8, growth_rate=4),
        "DynUNet": flat | _given(kernel_size=[3] * 3, strides=[1, 2, 2], upsample_kernel_size=[2, 2]),
        "EfficientNetBN": _given(model_name="efficientnet-b0", in_channels=1, spatial_dims=2, pretrained=False),
        "FlexibleUNet": flat | _given(backbone="efficientnet-b0"),
        "HighResNet": flat,
        "MedNeXtS": flat,
        "PatchDiscriminator": flat | _given(channels=8, num_layers_d=2),
        "SEResNet50": classes | _given(in_channels=1),
        "SEResNext50": classes | _given(in_channels=1),
        "SegResNet": flat | _given(init_filters=8),
        "SegResNetDS": flat | _given(init_filters=8),
        "SwinUNETR": flat | _given(feature_size=12),
        "UNETR": patches | _given(out_channels=2, feature_size=4),
        "UNet": flat | unet,
        "VNet": flat,
        "VQVAE": flat | codes,
        "ViT": patches | _given(patch_size=16, num_layers=2, classification=True),
        "ViTAutoEnc": patches | _given(patch_size=16, num_layers=2),
        "resnet10": classes | _given(n_input_channels=1),
        "resnet50": classes | _given(n_input_channels=1),
    }.items():
        yield Architecture(name, partial(getattr(nets, name), **settings), images)
    coder = partial(nets.VarAutoEncoder, 2, (1, 64, 64), 1, 4, (4, 8), (2, 2))
    yield Architecture("VarAutoEncoder", coder, images)
    yield Architecture("SegResNetVAE", partial(nets.SegResNetVAE, (64, 64), spatial_dims=2), images)
    yield Architecture("Regressor", partial(nets.Regressor, (1, 64, 64), (2,), (4, 8), (2, 2)), images)
    morph = _given(unet_out_channels=4, channels=(4,) * 6, final_conv_channels=(4, 4))
    yield Architecture("VoxelMorphUNet", partial(nets.VoxelMorphUNet, 2, 2, **morph), _image(64, 2))
    yield Architecture("UNet in 3D", partial(nets.UNet, 3, 1, 2, (4, 8), (2,), num_res_units=2), _image(16, 1, 3))
    diffusion = partial(nets.DiffusionModelUNet, **flat, channels=(8, 16), num_head_channels=8, **attention)
    yield Architecture("DiffusionModelUNet", diffusion, timed)


FAMILIES = {
    "transformers": Family("transformers", _transformers),
    "pytorchcv": Family("pytorchcv torchvision", _pytorchcv, needs_torchvision=True),
    "timm": Family("timm torchvision", _timm, needs_torchvision=True),
    "torch_geometric": Family("torch_geometric", _torch_geometric),
    "stable-baselines3": Family("stable-baselines3", _stable_baselines),
    "segmentation-models-pytorch": Family(
        "segmentation-models-pytorch torchvision", _segmentation_models, needs_torchvision=True
    ),
    "MONAI": Family("monai einops", _monai),
}
