#!/bin/bash -eu
# Build each fuzz target into a program of its own, with inputs to begin with.
#
# The accelerator is built with the compiler flags of the sanitizer, which come in
# CFLAGS; where they can't be used, that must fail.

cd "$SRC/aioudp"
AIOUDP_BUILD_SPEEDUPS=yes pip3 install --no-build-isolation .

for target in tests/fuzz/fuzz_*.py; do
    name=$(basename "$target" .py)
    # PyInstaller doesn't see what a compiled module imports.
    compile_python_fuzzer "$target" --paths . --collect-submodules aioudp._system
    python3 -m "tests.fuzz.$name" --corpus "$WORK/$name"
    (cd "$WORK/$name" && zip -q "$OUT/${name}_seed_corpus.zip" ./*)
done
