"""How large modules' outputs are, before anything is computed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any

import torch
from diffusers import SCMScheduler
from torch import Tensor, nn

from ldmscene.capture.conditions import lacks, supply
from ldmscene.capture.families import Family, default_latent, family_of
from ldmscene.capture.fold import Folding
from ldmscene.capture.hooks import call, running_uncompiled
from ldmscene.capture.modules import ModuleShape
from ldmscene.capture.source import holders_of_scheduler
from ldmscene.errors import InputError
from ldmscene.text import listed

_SAID = 160  # characters of what a pipeline says
TEXT_TOKENS = 77  # of CLIP, where no text says how many


@dataclass(frozen=True)
class FirstCall:
    """What a pipeline hands its denoiser first, and what its scheduler plans.

    Attributes
    ----------
    args, kwargs
        Arguments of the denoiser.
    timesteps : tuple of float
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    timesteps: tuple[float, ...] = ()

    @property
    def text_tokens(self) -> int:
        text = self.kwargs.get("encoder_hidden_states")
        return text.shape[1] if isinstance(text, Tensor) else 0

    @property
    def sample(self) -> Tensor | None:
        """The latents, (n, c, y, x) or as the denoiser takes them."""
        for one in (*self.args[:1], *(self.kwargs.get(name) for name in ("sample", "hidden_states"))):
            if isinstance(one, list):  # one for each sample, (c, frame, y, x)
                return torch.stack(one)[:, :, 0]
            if isinstance(one, Tensor):
                return one
        return None

    @property
    def size(self) -> tuple[int, int] | None:
        """Of the latents, (y, x); None where they are packed into tokens."""
        sample = self.sample
        return (sample.shape[-2], sample.shape[-1]) if sample is not None and sample.ndim == 4 else None

    def image_tokens(self, patch: object) -> int:
        """Of the image, where latents are packed or the denoiser says how large a `patch` is; 0 otherwise."""
        if self.size is None:
            return self.sample.shape[1] if self.sample is not None and self.sample.ndim == 3 else 0
        return self.size[0] // patch * (self.size[1] // patch) if isinstance(patch, int) else 0


class _Stop(Exception):  # noqa: N818, it isn't an error
    pass


def rehearse(pipeline: Any, arguments: dict[str, Any], inputs: Collection[str] = ()) -> FirstCall:
    """Run a pipeline up to its denoiser's first call, and not into it; `inputs` are its arguments beside prompts.

    Raises
    ------
    InputError
        If the pipeline can't be run with these arguments.
    """
    calls: list[FirstCall] = []

    def stop(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(FirstCall(args, kwargs))
        raise _Stop

    with torch.no_grad(), running_uncompiled(pipeline) as denoiser:
        handle = denoiser.register_forward_pre_hook(stop, with_kwargs=True)
        for holder in holders_of_scheduler(pipeline):
            vars(holder).pop("_num_timesteps", None)  # of an earlier call
        try:
            call(pipeline, arguments)
        except _Stop:
            pass
        except Exception as error:  # whatever a pipeline of any kind dislikes about a call
            raise InputError(_why_not(pipeline, arguments, inputs, error)) from error
        finally:
            handle.remove()
            pipeline.maybe_free_model_hooks()
    if not calls:
        raise InputError(f"{type(pipeline).__name__} never calls its denoiser; there is nothing to capture")
    timesteps = pipeline.scheduler.timesteps
    if isinstance(pipeline.scheduler, SCMScheduler):
        timesteps = timesteps[:-1]  # the last is where its last step leads to
    taken = [getattr(holder, "_num_timesteps", None) for holder in holders_of_scheduler(pipeline)]
    left = min(filter(None, taken), default=len(timesteps)) if inputs else len(timesteps)  # fewer than from noise
    return replace(calls[0], timesteps=tuple(float(t) for t in timesteps[-left:]))


def _why_not(pipeline: Any, arguments: Mapping[str, Any], inputs: Collection[str], error: Exception) -> str:
    """One sentence for a call that failed."""
    kind, lacking = type(pipeline).__name__, lacks(pipeline, inputs)
    handed = listed(["a prompt", *inputs])
    if lacking:
        return f"{kind} can't draw from {handed} alone, and takes {listed(lacking)}; {supply(lacking)}"
    scheduler, said = type(pipeline.scheduler).__name__, shorten(str(error), _SAID, placeholder=" …").rstrip(".")
    if isinstance(error, AttributeError | TypeError) and scheduler in said:
        return (
            f"{kind} can't step by {scheduler}, which lacks what it calls ({said}); give it a scheduler of its own kind"
        )
    steps = arguments.get("num_inference_steps")
    return (
        f"{kind} can't run {steps} steps from {handed} by {scheduler} (it says: {said}); call it so without ldmscene "
        "to see what else it needs"
    )


def module_shapes(denoiser: Any, modules: Sequence[str], folding: Folding, first: FirstCall) -> list[ModuleShape]:
    """Output shapes for one sample and branch, from one call on the meta device: nothing is computed.

    A denoiser whose shapes depend on values is really called, once.

    Raises
    ------
    InputError
        If the denoiser doesn't call one of the modules once, or it returns what can't be stored.
    """
    try:
        with torch.device("meta"):
            shadow = type(denoiser).from_config(denoiser.config).eval()
            found = _call(shadow, modules, folding, FirstCall(_to_meta(first.args), _to_meta(first.kwargs)))
    except InputError:
        raise
    except Exception:  # whatever an operation says that needs values, or a module that was added later
        found = _really_called(denoiser, modules, folding, first)
    return _in_order(found, modules)


def _really_called(denoiser: Any, modules: Sequence[str], folding: Folding, first: FirstCall) -> dict[str, ModuleShape]:
    try:
        return _call(denoiser, modules, folding, first)
    except InputError:
        raise
    except Exception as error:  # whatever a denoiser dislikes of what its pipeline hands it
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(
            f"{type(denoiser).__name__} can't be run with what its pipeline hands it ({reason}); try its own size, and "
            "supply what it needs beside a prompt"
        ) from error


def _in_order(found: Mapping[str, ModuleShape], modules: Sequence[str]) -> list[ModuleShape]:
    missing = [name for name in modules if name not in found]
    if missing:
        raise InputError(f"the denoiser never calls {missing[0]} as a module; capture one that it calls")
    return [found[name] for name in modules]


def _call(denoiser: nn.Module, modules: Sequence[str], folding: Folding, first: FirstCall) -> dict[str, ModuleShape]:
    shapes: dict[str, ModuleShape] = {}
    starts = folding.starts_in(first.kwargs)

    def watch(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: object, output: object) -> None:
            folded, dims = folding(name, output, starts)
            shapes[name] = ModuleShape(name, dims, tuple(folded.shape[1:]))

        return hook

    parts = dict(denoiser.named_modules())
    handles = [parts[name].register_forward_hook(watch(name)) for name in modules]
    try:
        with torch.no_grad():
            denoiser(*first.args, **first.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def _to_meta(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty_like(value, device="meta", dtype=torch.float32 if value.is_floating_point() else value.dtype)
    if isinstance(value, dict):
        return {key: _to_meta(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_to_meta(one) for one in value)
    return value


def outline_shapes(denoiser: Any, modules: Sequence[str]) -> list[ModuleShape]:
    """Output shapes of a denoiser without a pipeline around it, at the size that it was made for.

    Raises
    ------
    InputError
        If the denoiser needs inputs that aren't known from its configuration.
    """
    latent, family = default_latent(denoiser), family_of(denoiser)
    folding = Folding(family, latent, TEXT_TOKENS)
    try:
        found = _call(denoiser, modules, folding, FirstCall((), _typical_inputs(denoiser, family, latent)))
    except InputError:
        raise
    except Exception as error:  # whatever its forward says of inputs that aren't there
        raise InputError(
            f"the shapes of {type(denoiser).__name__} can't be told from its configuration alone; extract finds them "
            "when it runs the model"
        ) from error
    return _in_order(found, modules)


def _typical_inputs(denoiser: Any, family: Family, latent: tuple[int, int]) -> dict[str, Any]:
    config = denoiser.config
    needed = inspect.signature(denoiser.forward).parameters
    text_keys = ("encoder_hid_dim", "joint_attention_dim", "caption_channels", "text_embed_dim", "cross_attention_dim")
    text_width = next((config[key] for key in text_keys if config.get(key)), None)
    tokens = latent[0] * latent[1] // 4
    picture = (1, tokens, config.in_channels) if family.packed else (1, config.in_channels, *latent)
    pooled = config.get("pooled_projection_dim")
    shapes: dict[str, tuple[Any, ...]] = {
        "sample": picture,
        "hidden_states": picture,
        "timestep": (1,),
        "encoder_hidden_states": (1, TEXT_TOKENS, text_width),
        "encoder_attention_mask": (1 if family.masked_text else None, TEXT_TOKENS),
        "pooled_projections": (1, pooled),
        "img_ids": (tokens, len(config.get("axes_dims_rope") or ())),
        "txt_ids": (TEXT_TOKENS, len(config.get("axes_dims_rope") or ())),
        "guidance": (1 if config.get("guidance_embeds") else None,),
        "encoder_mask": (1, TEXT_TOKENS),
        "text_embedding_mask": (1, TEXT_TOKENS),
        "encoder_hidden_states_t5": (1, config.get("text_len_t5"), config.get("cross_attention_dim_t5")),
        "text_embedding_mask_t5": (1, config.get("text_len_t5")),
        "image_meta_size": (1, 6),
        "original_size": (1, 2),
        "target_size": (1, 2),
        "crop_coords": (1, 2),
    }
    inputs: dict[str, Any] = {
        name: torch.empty(shape, device="meta")
        for name, shape in shapes.items()
        if name in needed and None not in shape
    }
    if "style" in needed:  # HunyuanDiT's, by number
        inputs["style"] = torch.empty(1, dtype=torch.int64, device="meta")
    if "class_labels" in needed and config.get("num_embeds_ada_norm"):
        inputs["class_labels"] = torch.empty(1, dtype=torch.int64, device="meta")
    if "img_shapes" in needed:
        inputs["img_shapes"] = [[(1, latent[0] // 2, latent[1] // 2)]]
    if "added_cond_kwargs" in needed:
        inputs["added_cond_kwargs"] = _typical_conditions(config)
    return inputs


def _typical_conditions(config: Any) -> dict[str, Tensor | None]:
    """SDXL's second text embedding and sizes; Kandinsky's image embedding; PixArt's sizes."""
    if config.get("addition_embed_type") == "image":
        return {"image_embeds": torch.empty(1, config.encoder_hid_dim, device="meta")}
    if config.get("addition_embed_type") != "text_time":
        return {"resolution": None, "aspect_ratio": None}
    sizes = 6
    width = config.projection_class_embeddings_input_dim - sizes * config.addition_time_embed_dim
    return {name: torch.empty(1, n, device="meta") for name, n in (("text_embeds", width), ("time_ids", sizes))}
