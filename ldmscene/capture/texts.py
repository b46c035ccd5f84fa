"""Modules of text encoders: what they return of the prompt and of the negative prompt, before the first step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ldmscene.capture import branches as guidance
from ldmscene.capture.hooks import hearing
from ldmscene.capture.layout import TOKENS
from ldmscene.capture.modules import ModuleShape
from ldmscene.capture.parts import parts_of
from ldmscene.capture.sinks import Sink
from ldmscene.errors import InputError, LdmsceneError

FIRST = 0  # the denoiser's step to which what is read before it belongs
_PROMPTS = ("a cube", "a longer prompt, of a few more words")


def text_shapes(
    pipeline: Any, part: str, names: Sequence[str], rehearse: Callable[[str, int], None], branches: Sequence[str]
) -> tuple[list[ModuleShape], tuple[str, ...]]:
    """Shapes of a text encoder's modules, and which branch each text is that it reads, in their order.

    The pipeline runs up to its denoiser, with two prompts: the text that differs is the prompt, the other the negative
    one.

    Parameters
    ----------
    names
        Of modules, beginning with the part's.
    rehearse
        Runs the pipeline with a prompt for a number of samples, up to its denoiser.
    branches
        That are wanted.

    Raises
    ------
    InputError
        If texts can't be told apart, one of the branches isn't among them, or a module's outputs can't be stored.
    """
    encoder = parts_of(pipeline)[part]
    modules = {name: encoder.get_submodule(name.removeprefix(f"{part}.")) for name in names}
    found: list[tuple[list[Tensor], dict[str, list[Tensor]]]] = []
    for prompt in _PROMPTS:
        with hearing(modules) as heard, _listening(encoder) as texts:
            rehearse(prompt, 1)
        found.append((texts, heard))
    order = _told(part, *(texts for texts, _ in found))
    for branch in branches:
        if branch not in order:
            raise InputError(
                f"{part} reads no negative prompt in {type(pipeline).__name__} as it is called here; use branch='cond' "
                "or another negative_prompt"
            )
    _check_several(modules, rehearse, len(order))
    wanted = [order.index(branch) for branch in branches]
    return [text_shape(part, name, [heard[name] for _, heard in found], len(order), wanted) for name in names], order


def _check_several(modules: Mapping[str, nn.Module], rehearse: Callable[[str, int], None], texts: int) -> None:
    """Refuse modules that return one result for all texts that are read together, such as positions."""
    try:
        with hearing(modules) as heard:
            rehearse(_PROMPTS[0], 2)
    except InputError:  # the pipeline takes one sample a call
        return
    for name, outputs in heard.items():
        if (rows := sum(map(len, outputs))) != 2 * texts:
            raise InputError(
                f"{name} returns {rows} results where two samples have {2 * texts} texts, since it doesn't depend on "
                "the text; capture a module that returns one for each"
            )


@contextmanager
def _listening(encoder: nn.Module) -> Iterator[list[Tensor]]:
    """The token ids of each text that an encoder reads inside the block, in order."""
    texts: list[Tensor] = []

    def enter(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        if isinstance(ids, Tensor):
            texts.extend(ids.detach().clone())

    handle = encoder.register_forward_pre_hook(enter, with_kwargs=True)
    try:
        yield texts
    finally:
        handle.remove()


def _told(part: str, texts: Sequence[Tensor], others: Sequence[Tensor]) -> tuple[str, ...]:
    changed = [not torch.equal(one, other) for one, other in zip(texts, others, strict=False)]
    if len(texts) != len(others) or len(texts) not in (1, 2) or sum(changed) != 1:
        raise InputError(
            f"{part} reads {len(texts)} texts for one picture, of which {sum(changed)} depend on the prompt; expected "
            "the prompt alone, or with it a negative one, so that its branches could be told; leave its modules out"
        )
    return tuple("cond" if differs else "uncond" for differs in changed)


def _rows(part: str, name: str, outputs: Sequence[Tensor], texts: int) -> list[Tensor]:
    """A module's result for each text."""
    rows = [row for output in outputs for row in output]
    if len(rows) != texts:
        raise InputError(
            f"{name} returns {len(rows)} results where {part} reads {texts} texts; capture a module that runs once for "
            "each"
        )
    if rows[0].ndim != 2:
        raise InputError(f"{name} returns {tuple(outputs[0].shape)}; expected (text, token, channel); capture another")
    return rows


def text_shape(
    part: str, name: str, runs: Sequence[Sequence[Tensor]], texts: int, wanted: Sequence[int]
) -> ModuleShape:
    """That of what a module returned in runs that read a number of texts each, of which some are wanted.

    Raises
    ------
    InputError
        If it can't be stored.
    """
    results = [_rows(part, name, outputs, texts) for outputs in runs]
    rows = [result[i] for result in results for i in wanted]
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        raise InputError(
            f"{name} returns {' or '.join(map(str, lengths))} tokens, for prompts of several lengths or for the two "
            "branches, so that they can't be stored in one array; capture one branch, or a model that pads its prompts"
        )
    return ModuleShape(name, TOKENS, tuple(rows[0].shape), part, FIRST)


def take_texts(
    modules: Sequence[ModuleShape],
    orders: Mapping[str, Sequence[str]],
    branches: Sequence[str],
    heard: Mapping[str, Sequence[Tensor]],
    samples: int,
    sink: Sink,
) -> None:
    """Hand what text encoders' modules returned in a run of `samples` to a sink; `orders` are those of each part.

    Raises
    ------
    LdmsceneError
        If a module returned other parts than when it was planned.
    """
    for module in modules:
        order, parts = orders[module.part], guidance.split(heard[module.name], samples)
        if len(parts) != len(order):
            raise LdmsceneError(
                f"{module.name} returned {len(parts)} results a sample where {', '.join(order)} were planned; a "
                "compiled text encoder runs past hooks: compile it afterwards"
            )
        for branch in branches:
            sink.take(module.name, FIRST, branch, parts[order.index(branch)])
