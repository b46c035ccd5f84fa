"""A local page on which a person paints what a probe is to read, and watches the model draw it. Needs starlette."""

from ldmscene.painting.measured import sentence
from ldmscene.painting.serving import Painting, listen, serve
from ldmscene.painting.studio import Studio

__all__ = ["Painting", "Studio", "listen", "sentence", "serve"]
