"""Edits: what an editor returns is what an independent hook in diffusers' plain loop leads to, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from ldmscene import capture
from ldmscene.capture.conditions import EXAMPLE
from ldmscene.errors import InputError, LdmsceneError, UnknownNameError
from tests.capture.known import KNOWN, PROMPT, STEPS, Known, plan_of
from tests.capture.pipelines import PIPELINES, build
from tests.conftest import FIRST, LAST

PROMPTS, SEEDS = [PROMPT, "a red cube beside a tall green cone"], [7, 8]
KANDINSKY = "ignore:`callback_steps` is deprecated:FutureWarning"  # its combined pipeline's own


@dataclass
class Edit:
    """An editor made of a function of the values, and what it was called with."""

    modules: list[str]
    of: Callable[[str, torch.Tensor], torch.Tensor | None]
    seen: list[tuple[str, int, str]] = field(default_factory=list)

    def change(self, module, step, branch, values):
        self.seen.append((module, step, branch))
        return self.of(module, values)


def _delta(module: str, shape: tuple[int, ...]) -> torch.Tensor:
    """(y, x, channel), of each module its own."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(module)))


def _denoiser(pipeline):
    return getattr(pipeline, "unet", None) or pipeline.transformer


def _edited_by_hand(pipeline, name: str, modules: list[str], shapes: dict) -> list[np.ndarray]:
    """The pictures of diffusers' plain loop, with the delta added to the conditional part by hooks of our own."""
    known, denoiser = KNOWN[name], _denoiser(pipeline)
    parts, calls, text = dict(denoiser.named_modules()), dict.fromkeys(modules, 0), []
    handles = [denoiser.register_forward_pre_hook(lambda _m, _a, k: text.append(k), with_kwargs=True)]
    for module in modules:
        delta = _delta(module, shapes[module])

        def hook(_module, _args, output, module=module, delta=delta):
            calls[module] += 1
            return _with_delta(module, output, delta, known, calls[module] - 1, text[-1])

        handles.append(parts[module].register_forward_hook(hook))
    pipeline.set_progress_bar_config(disable=True)
    negative = {"negative_prompt": [""] * len(PROMPTS)} if "negative_prompt" in known.arguments else {}
    try:
        images = pipeline(
            prompt=PROMPTS, height=known.size[0], width=known.size[1], num_inference_steps=STEPS,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in SEEDS], output_type="latent",
            **known.arguments | negative,
        ).images  # fmt: skip
    finally:
        for handle in handles:
            handle.remove()
    return images


def _with_delta(module: str, output, delta: torch.Tensor, known: Known, call: int, text: dict):
    block = not module.rpartition(".")[2].startswith("attn")
    tensor = output if isinstance(output, torch.Tensor) else output[known.image_part if block else 0]
    together = len(tensor) == len(PROMPTS) * len(known.parts)  # in one call, or in one for each branch
    cond = known.parts.index("cond")
    if not together and call % len(known.parts) != cond:
        return output
    rows = range(cond * len(PROMPTS), (cond + 1) * len(PROMPTS)) if together else range(len(PROMPTS))
    new = tensor.clone()
    for row in rows:
        if tensor.ndim == 4 and tensor.shape[1] == delta.shape[0] * delta.shape[1]:  # tokens with heads
            new[row] += delta.reshape(tensor.shape[1:])
            continue
        if tensor.ndim == 4:
            new[row] += delta.permute(2, 0, 1)
            continue
        tokens = delta.flatten(0, 1)
        first = 0 if known.image_first else len(tensor[row]) - len(tokens)
        if known.text_lengths and len(tensor[row]) > len(tokens):
            first = int(text["encoder_attention_mask"][row].sum())
        new[row, first : first + len(tokens)] += tokens
    if isinstance(output, torch.Tensor):
        return new
    if module.startswith("down_blocks"):  # a UNet's, which hands its output to the next and to the decoder
        return new, (*output[1][:-1], new)
    return tuple(new if part is tensor else part for part in output)


def _edited_modules(pipeline) -> list[str]:
    denoiser = _denoiser(pipeline)
    attentions = capture.find_modules(denoiser, "self-attention")
    return [capture.find_modules(denoiser, "all-blocks")[0], attentions[0], attentions[-1]]


@pytest.mark.filterwarnings(KANDINSKY)
@pytest.mark.parametrize("name", PIPELINES)
def test_an_edit_is_what_an_independent_hook_does(name):
    pipeline = build(name)
    modules = _edited_modules(pipeline)
    plan = capture.rehearsed(plan_of(pipeline, name, modules, branch="cond"))
    shapes = {m.name: m.shape for m in plan.modules}
    plain = capture.run(plan, PROMPTS, SEEDS)
    same = Edit(modules, lambda _module, values: values)
    for one, other in zip(plain, capture.run(plan, PROMPTS, SEEDS, editor=same), strict=True):
        for module in modules:
            np.testing.assert_array_equal(one.activations[module], other.activations[module])
        np.testing.assert_array_equal(one.latents, other.latents)
        np.testing.assert_array_equal(one.image, other.image)
    assert len(same.seen) == len(plan.timesteps) * len(modules)
    assert set(same.seen) == {(m, step, "cond") for step in range(len(plan.timesteps)) for m in modules}
    adding = Edit(modules, lambda module, values: values + _delta(module, shapes[module]))
    ours = _final(pipeline, lambda: capture.run(plan, PROMPTS, SEEDS, editor=adding))
    theirs = _final(pipeline, lambda: _edited_by_hand(pipeline, name, modules, shapes))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert not torch.equal(ours, _final(pipeline, lambda: capture.run(plan, PROMPTS, SEEDS)))


def _final(pipeline, run: Callable[[], object]) -> torch.Tensor:
    """What a run's last step leads to."""
    with _steps(pipeline.scheduler) as kept:
        run()
    return kept[-1]


@contextmanager
def _steps(scheduler) -> Iterator[list[torch.Tensor]]:
    kept, own = [], type(scheduler).step

    def step(self, *args, **kwargs):
        found = own(self, *args, **kwargs)
        kept.append(found[0].clone())
        return found

    step.__wrapped__ = own  # pipelines look at its signature
    type(scheduler).step = step
    try:
        yield kept
    finally:
        type(scheduler).step = own


def test_where_the_parts_of_perturbed_guidance_are_symmetric_only_the_conditional_one_is_known():
    """u + s (c - u) + q (c - p) with q = s - 1 is the same for u and p; diffusers' own q is 3."""
    pipeline = build("perturbed_attention")
    known = capture.rehearsed(plan_of(pipeline, "perturbed_attention", ["mid_block"], branch="cond"))
    assert known.calls == (("uncond", "cond", "perturbed"),)
    with pytest.raises(InputError, match="several orders fit"):
        capture.rehearsed(plan_of(pipeline, "perturbed_attention", ["mid_block"], branch="both"))


def _plan(tiny, modules=(FIRST, LAST), **changes) -> capture.Plan:
    options = {"steps": 3, "guidance_scale": 5.0, "negative_prompt": "", "height": None, "width": None}
    options |= {"branch": "cond", "dtype": "float32"}
    return capture.make_plan(tiny, modules=list(modules), **(options | changes))


def _unchanged(_module, values):
    return values


class Moments:
    """Running sums on the device, in float64."""

    on_host = False

    def __init__(self) -> None:
        self.sums: dict = {}

    def take(self, module, step, branch, values):
        flat = values.flatten(0, -2).double()
        total, squares = self.sums.get((module, step, branch), (0, 0))
        self.sums[module, step, branch] = total + flat.sum(0), squares + flat.T @ flat


def test_a_sink_of_statistics_sees_what_the_host_would(tiny):
    plan, sink = _plan(tiny, branch="both"), Moments()
    stored = capture.run(plan, PROMPTS, SEEDS)
    silent = capture.run(plan, PROMPTS, SEEDS, sink=sink)
    assert set(sink.sums) == {(m, s, b) for m in (FIRST, LAST) for s in range(3) for b in ("uncond", "cond")}
    for (module, step, branch), (total, squares) in sink.sums.items():
        found = np.stack([one.activations[module][step, plan.branches.index(branch)] for one in stored])
        flat = found.reshape(-1, found.shape[-1]).astype(np.float64)
        np.testing.assert_allclose(total, flat.sum(0), rtol=1e-12)
        np.testing.assert_allclose(squares, flat.T @ flat, rtol=1e-12)
    for one, other in zip(stored, silent, strict=True):
        assert other.activations == {}
        np.testing.assert_array_equal(one.image, other.image)


def test_each_step_is_shown_as_it_is_made_and_can_be_the_last(tiny):
    plan, sink, shown = _plan(tiny), Moments(), []

    def watch(recording):
        shown.append((recording.timesteps[-1], recording.latents[-1].numpy(), len(sink.sums)))
        if len(shown) == 5:  # the second step of another run
            raise KeyboardInterrupt

    trajectories = capture.run(plan, PROMPTS, SEEDS, sink=sink, on_step=watch)
    assert [timestep for timestep, *_ in shown] == list(plan.timesteps)
    assert [count for *_, count in shown] == [2, 4, 6]  # the sink has the step's two modules by then
    np.testing.assert_array_equal(
        np.stack([x for _, x, _ in shown], 1), np.stack([one.latents for one in trajectories])
    )
    with pytest.raises(KeyboardInterrupt):
        capture.run(plan, PROMPTS, SEEDS, on_step=watch)
    assert len(shown) == 5


def test_what_is_stored_is_what_the_editor_made_of_it(tiny):
    plan = _plan(tiny, branch="both")
    plain = capture.run(plan, PROMPTS, SEEDS)
    cond = Edit([FIRST], lambda _module, values: torch.zeros_like(values))
    only_cond = type("OnlyCond", (Edit,), {"change": lambda self, m, s, b, v: self.of(m, v) if b == "cond" else None})
    edited = capture.run(plan, PROMPTS, SEEDS, editor=only_cond(cond.modules, cond.of))
    for one, other in zip(plain, edited, strict=True):
        assert not other.activations[FIRST][:, 1].any()
        np.testing.assert_array_equal(other.activations[FIRST][0, 0], one.activations[FIRST][0, 0])  # uncond
        np.testing.assert_array_equal(other.activations[LAST][0, 0], one.activations[LAST][0, 0])
        assert np.abs(other.activations[LAST][0, 1] - one.activations[LAST][0, 1]).max() > 1e-3


def test_a_pipeline_that_its_user_runs_is_edited_as_in_a_run_and_steps_begin_anew_in_each_call(tiny):
    plan = _plan(tiny)
    editor = Edit([LAST], lambda _module, values: values * 2)
    own = [one.image for one in capture.run(plan, PROMPTS, SEEDS, editor=editor)]
    editor.seen.clear()
    with capture.watching(plan, editor=editor):
        for _ in range(2):
            generators = [torch.Generator("cpu").manual_seed(seed) for seed in SEEDS]
            images = tiny(PROMPTS, num_inference_steps=3, guidance_scale=5.0, generator=generators).images
    # The pipeline decodes its pictures together, a run one by one: single values round to the next grey level.
    np.testing.assert_allclose(own, np.array([np.array(image) for image in images], int), rtol=0, atol=1)
    assert editor.seen == [(LAST, step, "cond") for step in range(3)] * 2


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("when", [0, 3])
def test_the_pipeline_is_given_back_without_a_trace_whatever_happens(tiny, error, when):
    def state():
        own = {name: dict(part.__dict__) for name, part in tiny.unet.named_modules()}
        hooks = [len(part["_forward_hooks"]) + len(part["_forward_pre_hooks"]) for part in own.values()]
        return hooks, sorted(vars(tiny.scheduler)), getattr(tiny, "_progress_bar_config", None), tiny.unet

    def fail(_module, _values):
        if len(editor.seen) > when:
            raise error

    plan, editor = _plan(tiny), Edit([FIRST, LAST], fail)
    capture.run(plan, PROMPTS, SEEDS)
    before = state()
    with pytest.raises(error):
        capture.run(plan, PROMPTS, SEEDS, editor=editor)
    assert len(editor.seen) == when + 1
    assert state() == before


def test_a_branch_that_cannot_be_told_beforehand_is_refused(tiny):
    plan = _plan(tiny, negative_prompt=EXAMPLE)
    with pytest.raises(InputError, match="several orders fit; use another negative prompt"):
        capture.run(plan, PROMPTS, SEEDS, editor=Edit([LAST], _unchanged))


def test_another_guidance_than_was_planned_is_refused(tiny):
    plan, editor = _plan(tiny), Edit([LAST], _unchanged)
    with (
        pytest.raises(LdmsceneError, match="can't be told before the step is over"),
        capture.watching(plan, editor=editor),
    ):
        tiny(PROMPT, num_inference_steps=2, guidance_scale=1.0)
    # Two samples without guidance look like one sample with it, until the scheduler says how many there are.
    with pytest.raises(LdmsceneError, match="computed cond, where the rehearsal had uncond, cond"), \
            capture.watching(plan, editor=editor):  # fmt: skip
        tiny(PROMPTS, num_inference_steps=1, guidance_scale=1.0)


@pytest.mark.parametrize("samples", [1, 2])
def test_guidance_that_stops_within_a_run_stops_the_edit(tiny, samples):
    def stop_guiding(pipeline, _step, _timestep, tensors):
        pipeline._guidance_scale = 0.0
        return tensors | {"prompt_embeds": tensors["prompt_embeds"][samples:]}

    editor = Edit([LAST], _unchanged)
    with pytest.raises(LdmsceneError, match="in call 1 of step 1, where the rehearsal had uncond and cond"), \
            capture.watching(_plan(tiny), editor=editor):  # fmt: skip
        tiny(
            PROMPTS[:samples], num_inference_steps=3, guidance_scale=5.0, callback_on_step_end=stop_guiding,
            callback_on_step_end_tensor_inputs=["prompt_embeds"],
        )  # fmt: skip
    assert editor.seen == [(LAST, 0, "cond")]


def test_what_an_editor_may_not_do_is_said(tiny):
    plan = _plan(tiny)
    for change, message in (
        (lambda _module, values: values[..., 1:], r"must return the shape that it got, \(2, 16, 16, 48\); got"),
        (lambda _module, values: values.numpy(), "must return a tensor or None; got ndarray"),
    ):
        with pytest.raises(InputError, match=message):
            capture.run(plan, PROMPTS, SEEDS, editor=Edit([LAST], change))
    with pytest.raises(UnknownNameError, match=LAST):
        capture.run(plan, PROMPTS, SEEDS, editor=Edit([LAST + "x"], _unchanged))


def test_a_module_that_runs_twice_in_a_call_is_not_edited(tiny):
    part = dict(tiny.unet.named_modules())[LAST]

    def call_it_first(_module, _args):
        part(torch.zeros(4, 256, part.in_features))

    handle = tiny.unet.mid_block.register_forward_pre_hook(call_it_first)
    try:
        with pytest.raises(LdmsceneError, match=f"calls {LAST} more than once"):
            capture.run(_plan(tiny, [FIRST]), PROMPTS, SEEDS, editor=Edit([LAST], _unchanged))
    finally:
        handle.remove()


def test_supplied_pictures_are_edited_too(tiny):
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    with capture.with_scheduler(tiny, capture.supplied_scheduler(tiny.scheduler, [400.0, 100.0])):
        plan = _plan(tiny, steps=2)
        plain = capture.run(plan, PROMPTS, SEEDS, images)
        edited = capture.run(plan, PROMPTS, SEEDS, images, editor=Edit([FIRST], lambda _module, values: values + 1))
    for one, other in zip(plain, edited, strict=True):
        np.testing.assert_array_equal(other.activations[FIRST][0], one.activations[FIRST][0] + 1)
        np.testing.assert_array_equal(other.latents, one.latents)
        assert not np.array_equal(other.activations[LAST], one.activations[LAST])
