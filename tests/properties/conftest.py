"""The settings of the property tests: profiles ``dev`` and ``ci``.

``HYPOTHESIS_PROFILE`` chooses one; without it ``ci`` is taken where ``CI`` is set, as
continuous integration does, and ``dev`` elsewhere. Both have no deadline: the machine
may be busy, and the timeout of the suite ends what hangs.
"""

from __future__ import annotations

import os

from hypothesis import settings

# The same examples on every run: a failure in continuous integration is about the
# change at hand, and comes again here with HYPOTHESIS_PROFILE=ci.
settings.register_profile(
    "ci", deadline=None, derandomize=True, database=None, max_examples=200
)
# New examples on every run, fewer of them; what failed is remembered in .hypothesis.
settings.register_profile("dev", deadline=None, max_examples=50)

settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)
