"""The samples to generate: how a manifest is read, checked, split and written.

A manifest is a table with the columns `prompt` and `seed`, and where given `sample_id`, `prompt_id` and
`split`. What isn't given is derived from the prompt alone, so that it is the same in every manifest: `prompt_id`
is a hash, and `split` is drawn by prompt, so that no prompt lies on both sides.

Samples of supplied pictures have a column `image` too, the picture's hash, which takes the prompt's part in all this.
So have samples whose pipeline is handed pictures of their own, and a column `inputs` with the hashes of all of these.
Once a model has read the prompts there is a column `read`, a hash of the tokens: equal where the model reads the same.
"""

from ldmscene.manifest.pictures import file_names, image_manifest, picture_manifest, pictures_of
from ldmscene.manifest.published import read_published
from ldmscene.manifest.reading import naming, read_manifest
from ldmscene.manifest.samples import COLUMNS, IMAGE, INPUTS, OPTIONAL, SAFE_ID, SCHEMA, Manifest

__all__ = [
    "COLUMNS",
    "IMAGE",
    "INPUTS",
    "OPTIONAL",
    "SAFE_ID",
    "SCHEMA",
    "Manifest",
    "file_names",
    "image_manifest",
    "naming",
    "picture_manifest",
    "pictures_of",
    "read_manifest",
    "read_published",
]
