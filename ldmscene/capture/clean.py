"""The x_0 that a denoiser's output implies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ldmscene.errors import InputError


def predict_clean(scheduler: Any, output: Tensor, timestep: object, sample: Tensor) -> Tensor:
    """The x_0 that a model output implies at x_t, in the latents' own scale.

    Either x_t = x_0 + σ ε (Karras et al. 2022), or x_t = √ᾱ x_0 + √(1 − ᾱ) ε (Ho et al. 2020), or
    x_t = (1 − σ) x_0 + σ ε (Lipman et al. 2022), or x_t = cos(t) x_0 + sin(t) ε (Lu and Song 2024), as the scheduler
    has it.

    Raises
    ------
    InputError
        If the scheduler's kind of prediction isn't epsilon, v_prediction, sample, flow or trigflow, it hides its
        noise, or it predicts the noise of a step that has no signal.
    """
    output = output[:, : sample.shape[1]]  # some predict a variance too
    if hasattr(scheduler, "precondition_outputs"):  # as Karras et al. have it themselves
        sigma = _sigma(scheduler, _index(scheduler, timestep))
        preconditioned: Tensor = scheduler.precondition_outputs(sample, output, sigma)
        return preconditioned
    kind = getattr(scheduler.config, "prediction_type", "flow_prediction")
    if kind == "trigflow":
        angle = torch.as_tensor(timestep).flatten()[0]
        return angle.cos() * sample - angle.sin() * output
    signal, noise = _coefficients(scheduler, timestep)
    if kind == "sample":
        return output
    if kind == "epsilon":
        if not signal:
            raise InputError(
                f"at timestep {float(torch.as_tensor(timestep).flatten()[0]):g} {type(scheduler).__name__} has no "
                "signal (zero terminal SNR), where predicted noise says nothing of the picture and values become NaN; "
                "expected prediction_type='v_prediction' or 'sample' there, or a scheduler without "
                "rescale_betas_zero_snr"
            )
        return (sample - noise * output) / signal
    if kind == "v_prediction":  # v = a ε − b x_0 with (a, b) the coefficients scaled to unit length
        length: float = (signal**2 + noise**2) ** 0.5
        return (signal * sample - noise * length * output) / length**2
    if kind == "flow_prediction":
        return sample - noise * output
    raise InputError(f"the scheduler predicts {kind!r}; expected epsilon, v_prediction, sample or flow_prediction")


def _coefficients(scheduler: Any, timestep: object) -> tuple[float, float]:
    if getattr(scheduler, "sigmas", None) is None:
        if not hasattr(scheduler, "alphas_cumprod"):
            raise InputError(f"{type(scheduler).__name__} doesn't say how much noise a step has; use another scheduler")
        alpha = float(scheduler.alphas_cumprod[int(torch.as_tensor(timestep))])
        return alpha**0.5, (1 - alpha) ** 0.5
    sigma = _sigma(scheduler, _index(scheduler, timestep))
    if hasattr(scheduler, "_sigma_to_alpha_sigma_t"):  # the DPM-Solver family keeps x_t at unit variance
        signal, noise = scheduler._sigma_to_alpha_sigma_t(sigma)
        return float(signal), float(noise)
    return 1.0, float(sigma)


def _index(scheduler: Any, timestep: object) -> int:
    known = scheduler.step_index
    return int(scheduler.index_for_timestep(timestep) if known is None else known)


def _sigma(scheduler: Any, index: int) -> Tensor:
    if not hasattr(scheduler, "sigmas_interpol") or scheduler.state_in_first_order:
        sigma: Tensor = scheduler.sigmas[index]
        return sigma
    # The second call of a KDPM2 step lies between two noise levels; the ancestral kind counts them from one less.
    between: Tensor = scheduler.sigmas_interpol[index - hasattr(scheduler, "sigmas_up")]
    return between
