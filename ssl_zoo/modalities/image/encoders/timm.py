"""Any model of timm as an encoder: `timm/NAME`; timm is imported when one is built."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec, LibraryModel
from ssl_zoo.errors import UserError, describe_error, suggest
from ssl_zoo.modalities.patches import patches_left_over
from ssl_zoo.registry import PartFailed, register


@register("encoder", "timm/*")
def timm_encoder(
    model: str,
    spec: InputSpec,
    *,
    drop_path: Annotated[float, Field(ge=0, lt=1)] | None = None,
) -> nn.Module:
    """A timm model without its classifier, untrained: `(B, C, H, W)` -> its pooled features `(B, out_dim)`.

    It is timm's own module, so that its weights have timm's names.

    Args:
        model: timm's name of it.
        spec: of the views. Models of a fixed input size are built for theirs, and to take those of local views too.
        drop_path: rate of stochastic depth, for models that have it; None keeps timm's default.

    Raises:
        UserError: timm has no such model, or it does not take such images.
    """
    import timm

    size, local = (_side(spec.sides_of(role)) for role in ("global", "local"))
    if not timm.is_model(model):
        raise UserError(f"encoder 'timm/{model}': timm has no such model{_nearest(model, timm.list_models())}")
    options: dict[str, Any] = {} if drop_path is None else {"drop_path_rate": drop_path}
    config = timm.get_pretrained_cfg(model)
    if size is not None and config is not None and config.fixed_input_size:
        options["img_size"] = size
        if local not in (None, size):
            options["dynamic_img_size"] = True
    try:
        made: Any = timm.create_model(model, pretrained=False, num_classes=0, in_chans=spec.channels, **options)
    except Exception as error:
        if "img_size" in options:
            _check_patches(_at_its_own_size(model), f"timm/{model}", "views.size", size)
        where = "" if size is None else f" for views of {size} pixels"
        if "dynamic_img_size" in options:
            where += f" and local views of {local}"
        raise PartFailed(f"encoder 'timm/{model}': timm cannot make it{where}: {describe_error(error)}.") from error
    for key, side in (("views.size", size), ("views.local_size", local)):
        _check_patches(made, f"timm/{model}", key, side)
    made.out_dim = getattr(made, "head_hidden_size", made.num_features)
    made.own_names = own_names
    if config is not None:  # what its published weights are made for, as options of views
        made.usual_input = {"size": config.input_size[-1], "mean": list(config.mean), "std": list(config.std)}
    made.library_models = partial(_library_models, model, {"in_chans": spec.channels, **_shape(options)})
    made.register_load_state_dict_pre_hook(_take_old_names)
    return made


def _shape(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that change what a model computes when it is used, and not how it is trained."""
    return {key: value for key, value in options.items() if key != "drop_path_rate"}


def _library_models(model: str, options: Mapping[str, Any]) -> dict[str, LibraryModel]:
    return {"timm": LibraryModel(model, None, options)}


def _side(sides: tuple[int, ...] | None) -> int | None:
    return None if sides is None else sides[0]


def _check_patches(made: Any, name: str, key: str, side: int | None) -> None:
    """Make sure that a transformer's patches divide the views: it would not see the border, or stop in the middle."""
    from timm.layers import HybridEmbed, PatchEmbed

    cut = getattr(made, "patch_embed", None)
    if side is None or not isinstance(cut, (HybridEmbed, PatchEmbed)) or getattr(cut, "dynamic_img_pad", False):
        return
    # A hybrid's convolutions pad, so that its patches, which are cut from their maps, are what must divide.
    whole = isinstance(cut, HybridEmbed) and max(cut.patch_size) == 1
    patches: Any = cut.feat_ratio(as_scalar=False)
    for patch in patches:
        if side % patch and not whole:
            raise UserError(patches_left_over(key, side, patch, name))


def _at_its_own_size(model: str) -> nn.Module:
    import timm

    with torch.device("meta"):
        return timm.create_model(model, pretrained=False, num_classes=0)


def own_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under timm's names: older runs wrote them with `model.` in front."""
    return {name.removeprefix("model."): value for name, value in weights.items()}


def _take_old_names(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    for name in [name for name in state if name.startswith(prefix + "model.")]:
        state[prefix + name.removeprefix(prefix + "model.")] = state.pop(name)


def _nearest(model: str, known: list[str]) -> str:
    hint = suggest(model, known).partition(" Known: ")[0]
    return f"{hint} See timm.list_models()."
