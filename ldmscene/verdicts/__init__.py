"""What may be said of curves of held-out effects, and how sure that is: effects, intervals, steps, sentences.

Nothing here knows a store, a model or a probe: arrays over steps and prompts come in, findings and words go out.
"""

from ldmscene.verdicts.draws import Draws, counts
from ldmscene.verdicts.effects import Residuals, by_prompt, capped, ceiling, refit_error
from ldmscene.verdicts.finding import Finding, Rival, find
from ldmscene.verdicts.sentences import apart, sentence, signed, these
from ldmscene.verdicts.steps import LEAST, Lead, Step, first_step, lead, most_step

__all__ = [
    "LEAST",
    "Draws",
    "Finding",
    "Lead",
    "Residuals",
    "Rival",
    "Step",
    "apart",
    "by_prompt",
    "capped",
    "ceiling",
    "counts",
    "find",
    "first_step",
    "lead",
    "most_step",
    "refit_error",
    "sentence",
    "signed",
    "these",
]
