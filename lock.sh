#!/bin/sh
# Remake constraints.txt: install everything that pyproject.toml names into a fresh environment, write down what came;
# and requirements.txt: of that what the service needs, each file by its hash.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3}" -m venv "$scratch/venv"
pip="$scratch/venv/bin/pip --disable-pip-version-check"
$pip install --quiet --upgrade pip
# torch moves by hand (edit its line, then remake): stated figures and bit-for-bit results belong to one version.
torch=$(grep '^torch==' constraints.txt)
$pip install --quiet --group check --group test --editable '.[training]' "$torch"
# What builds this project, so that builds are pinned as well.
$pip install --quiet editables hatchling
{
    echo '# The versions that are tested together: every package of the service, of training, of tests, checks and builds.'
    echo '# Used by Makefile, Dockerfile and CI. Remake with `make lock`.'
    # A local version such as +cpu says which of several builds was found, and CUDA packages are pinned by torch itself.
    $pip freeze --all --exclude-editable | sed -e 's/+.*//' | grep -Ev '^(nvidia-|cuda-|triton=)' |
        LC_ALL=C sort -f
} > "$scratch/constraints.txt"
cp "$scratch/constraints.txt" constraints.txt
"$scratch/venv/bin/python" -m venv "$scratch/tools"
"$scratch/tools/bin/pip" --disable-pip-version-check install --quiet pip-tools
{
    echo '# What the service needs, each file by its hash. Used by Dockerfile. Remake with `make lock`.'
    "$scratch/tools/bin/pip-compile" --quiet --no-header --no-annotate --generate-hashes --allow-unsafe --strip-extras \
        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
        --constraint constraints.txt --output-file - pyproject.toml
} > "$scratch/requirements.txt"
cp "$scratch/requirements.txt" requirements.txt
