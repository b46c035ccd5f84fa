"""Settings of the property-based tests."""

from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # how long an example takes depends on what else runs
settings.load_profile("any machine")
