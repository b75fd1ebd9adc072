"""Build the optional accelerator; everything else is in ``pyproject.toml``.

``AIOUDP_BUILD_SPEEDUPS`` in the environment decides: ``yes`` fails where it cannot be
built, ``no`` makes a pure wheel, ``auto`` (the default) tries, and goes on without it,
with a warning, where there is no compiler. Only Linux has the system calls it uses.
"""

import os
import sys
from glob import glob

from setuptools import Extension, setup

SWITCH = "AIOUDP_BUILD_SPEEDUPS"

choice = os.environ.get(SWITCH, "auto")
if choice not in ("yes", "no", "auto"):
    sys.exit(f"{SWITCH} must be yes, no or auto, not {choice!r}")

ext_modules = []
if choice == "yes" or (choice == "auto" and sys.platform == "linux"):
    ext_modules = [
        Extension(
            "aioudp._system.speedups",
            ["aioudp/_system/speedups.pyx"],
            depends=glob("aioudp/_system/compiled/*.pxi"),
            extra_compile_args=["-O3"],
            optional=choice == "auto",
        )
    ]

setup(ext_modules=ext_modules)
