"""Standing between a pipeline, its denoiser and its scheduler; all is given back as it was."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ldmscene.capture.conditions import ADAPTER, takes
from ldmscene.capture.fold import first_tensor
from ldmscene.capture.source import denoiser_of


@contextmanager
def instead(scheduler: Any, **methods: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """Put functions in the place of a scheduler's methods inside the block; each is made from the method itself."""
    own = {name: vars(scheduler).get(name) for name in methods}
    try:
        for name, make in methods.items():
            method = getattr(scheduler, name)
            # Pipelines look at signatures, to give a step their generator.
            setattr(scheduler, name, functools.wraps(method)(make(method)))
        yield
    finally:
        for name, attribute in own.items():
            if attribute is not None:
                setattr(scheduler, name, attribute)
            else:  # the instance's attribute goes; the class's method shows again
                vars(scheduler).pop(name, None)


@contextmanager
def running_uncompiled(pipeline: Any) -> Iterator[nn.Module]:
    """The denoiser without `torch.compile` inside the block: a compiled graph runs past hooks set after it.

    Its attention processors are those of before afterwards: a pipeline that is stopped may have left others.
    """
    role, plain = denoiser_of(pipeline)
    held = getattr(pipeline, role)
    compiled = {part: part._compiled_call_impl for part in plain.modules() if part._compiled_call_impl is not None}
    if plain is not held or compiled:
        warnings.warn(
            "the denoiser is compiled; it runs uncompiled while its modules are listened to, since a compiled "
            "graph has no modules to listen to",
            stacklevel=4,
        )
    processors = dict(getattr(plain, "attn_processors", {}))
    try:
        if plain is not held:
            setattr(pipeline, role, plain)
        for part in compiled:
            part._compiled_call_impl = None
        yield plain
    finally:
        if plain is not held:
            setattr(pipeline, role, held)
        if processors and plain.attn_processors != processors:
            plain.set_attn_processor(processors)
        for part, call in compiled.items():
            part._compiled_call_impl = call


@contextmanager
def hearing(modules: Mapping[str, nn.Module], dtype: torch.dtype | None = None) -> Iterator[dict[str, list[Tensor]]]:
    """What modules return inside the block: by name, of each call the first tensor, a copy of this type on the CPU."""
    heard: dict[str, list[Tensor]] = {name: [] for name in modules}

    def hook(name: str) -> Callable[..., None]:
        def leave(_module: nn.Module, _args: object, output: object) -> None:
            values = first_tensor(output).detach()
            copied = values.to(dtype or values.dtype, copy=True)
            heard[name].append(copied if copied.is_meta else copied.cpu())

        return leave

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def call(pipeline: Any, arguments: dict[str, Any]) -> Any:
    """Call a pipeline; one that takes no `latents` draws those that are asked for, by its module's `randn_tensor`.

    An IP-Adapter reads several pictures as several of each sample: here each sample has its own.
    """
    adapter = arguments.get(ADAPTER)
    if isinstance(adapter, list) and len(adapter) > 1:
        with instead(pipeline, prepare_ip_adapter_image_embeds=lambda prepare: _one_by_one(prepare, adapter)):
            return pipeline(**arguments)
    if "latents" not in arguments or "latents" in takes(pipeline):
        return pipeline(**arguments)
    source: Any = sys.modules[type(pipeline).__module__]
    draw, rest = source.randn_tensor, {**arguments}
    latents = rest.pop("latents")
    try:
        source.randn_tensor = lambda *_args, **_options: latents
        return pipeline(**rest)
    finally:
        source.randn_tensor = draw


def _one_by_one(prepare: Callable[..., Any], pictures: list[Any]) -> Callable[..., Any]:
    """In the place of `prepare_ip_adapter_image_embeds`: what it makes of each sample's picture, in one batch."""

    def prepared(image: Any, embeds: Any, device: Any, count: int, *guided: bool) -> Any:
        if image is not pictures:  # a negative one, which samples share
            return prepare(image, embeds, device, count, *guided)
        each = [prepare([one], None, device, 1, *guided) for one in pictures]
        if isinstance(each[0], torch.Tensor):
            return torch.stack(each, 1).flatten(0, 1)
        return [torch.stack(of_adapter, 1).flatten(0, 1) for of_adapter in zip(*each, strict=True)]

    return prepared


@contextmanager
def quiet(pipeline: Any) -> Iterator[None]:
    """Silence a pipeline's own progress bar inside the block."""
    own = getattr(pipeline, "_progress_bar_config", {})
    pipeline.set_progress_bar_config(**{**own, "disable": True})
    try:
        yield
    finally:
        pipeline.set_progress_bar_config(**own)
