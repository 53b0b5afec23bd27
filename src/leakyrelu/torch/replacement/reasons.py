"""Why an activation is left as it is."""

from collections.abc import Mapping

from torch import nn

from leakyrelu.torch.operations import module_kind
from leakyrelu.torch.replacement.modules import works_by_itself

__all__ = ["CACHED", "OTHERS", "SCRIPTED", "is_hidden", "reason_against"]

_BOUNDED = "is bounded above, too, which Leaky ReLU is not"
_CLAMP = "a clamp at zero, which may be meant as a bound; write nn.ReLU where it is an activation"
OTHERS = {  # other activations that are flat below zero, and why they are left alone
    "relu6": f"ReLU6 {_BOUNDED}",
    "hardtanh": f"Hardtanh {_BOUNDED}",
    "threshold": "a threshold has a place and a value of its own, which Leaky ReLU does not have",
    **dict.fromkeys(("clamp", "clamp_min", "clip"), _CLAMP),
}
_FUSED = "fused: its ReLU is part of the {} kernel"
SCRIPTED = "{} is scripted; replace before torch.jit.script"
CACHED = "{} has a cache, which would keep what the old activation gave"


def is_hidden(reason: str) -> bool:
    """Whether it is the reason for calls that no run shows."""
    return any(reason.endswith(each.removeprefix("{}")) for each in (SCRIPTED, CACHED))


def reason_against(module: nn.Module, table: Mapping[type[nn.Module], nn.Module]) -> str:
    """Why a module that computes an activation is left as it is; empty if nothing keeps it from being replaced."""
    kind = module_kind(module)
    if kind in table:
        return "" if works_by_itself(module) else f"its forward is not that of nn.{kind.__name__}"  # type: ignore[union-attr]
    if nn.ReLU not in table:
        return ""
    if isinstance(module, nn.Hardtanh | nn.Threshold) and not getattr(module, "min_val", 0):
        operation = "threshold" if isinstance(module, nn.Threshold) else "relu6" if module.max_val == 6 else "hardtanh"
        return OTHERS[operation]
    if isinstance(module, nn.RNN | nn.RNNCell) and module.nonlinearity == "relu":
        return _FUSED.format("recurrent")
    if "ReLU" in type(module).__name__ and type(module).__module__.startswith("torch.ao.nn.") and not module._modules:  # noqa: SLF001  # as children() has it
        return _FUSED.format("quantized")
    return ""
