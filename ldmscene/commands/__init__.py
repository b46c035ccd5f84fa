"""The verbs of the command line, a file each: options in, a public call, something printed."""

from __future__ import annotations

from ldmscene.commands.check import check
from ldmscene.commands.completion import completion
from ldmscene.commands.effect import effect
from ldmscene.commands.evaluate import evaluate
from ldmscene.commands.extract import extract, extract_images
from ldmscene.commands.figures import figures
from ldmscene.commands.info import info
from ldmscene.commands.intervene import intervene
from ldmscene.commands.label import label
from ldmscene.commands.modules import modules
from ldmscene.commands.paint import paint
from ldmscene.commands.repair import repair
from ldmscene.commands.report import report
from ldmscene.commands.run import run
from ldmscene.commands.tidy import tidy
from ldmscene.commands.verify import verify

COMMANDS = (
    check,
    completion,
    effect,
    evaluate,
    extract,
    extract_images,
    figures,
    info,
    intervene,
    label,
    modules,
    paint,
    repair,
    report,
    run,
    tidy,
    verify,
)
