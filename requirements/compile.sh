#!/bin/sh
# Locks the dependencies with hashes and without any registry's address. Needs uv on PATH.
set -eu
cd "$(dirname "$0")/.."
lock() { out=$1; shift; uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --upgrade pyproject.toml "$@" -o "requirements/$out"; }
lock run.txt
lock dev.txt --group dev
