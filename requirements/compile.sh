#!/bin/sh
# Locks the dependencies with hashes and without any registry's address. Needs uv on PATH.
set -eu
cd "$(dirname "$0")/.."
lock() { out=$1; shift; uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --upgrade "$@" -o "$out"; }
lock requirements/run.txt pyproject.toml
lock requirements/dev.txt pyproject.toml --group dev
lock requirements/build.txt requirements/build.in
lock examples/thumbnail/requirements.txt examples/thumbnail/requirements.in
