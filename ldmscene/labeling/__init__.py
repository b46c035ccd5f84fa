"""From pictures to labels, and what labels say."""

from ldmscene.labeling.label import label
from ldmscene.labeling.learnable import warn_of_unlearnable
from ldmscene.labeling.naming import check_given, check_name, gives_maps, reads_pictures, resolve, seconds_per_picture
from ldmscene.labeling.pictures import BATCH
from ldmscene.labeling.supplied import check_supplied
from ldmscene.labeling.wanted import Wanted, check_target

__all__ = [
    "BATCH",
    "Wanted",
    "check_given",
    "check_name",
    "check_supplied",
    "check_target",
    "gives_maps",
    "label",
    "reads_pictures",
    "resolve",
    "seconds_per_picture",
    "warn_of_unlearnable",
]
