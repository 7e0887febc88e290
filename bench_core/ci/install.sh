#!/usr/bin/env bash
# Makes the environment of the action: bench-core itself, from the action's own sources, and what the benchmarks need.
#
#   TOOL           the sources of bench-core
#   PYTHON         the interpreter
#   FOLDER         where it is made
#   REQUIREMENTS   what pip installs besides, as words of its command line
set -euo pipefail

rm -rf "$FOLDER/environment"
"$PYTHON" -I -m venv "$FOLDER/environment"
pip=("$FOLDER/environment/bin/python" -I -m pip --disable-pip-version-check --quiet)
"${pip[@]}" install "$TOOL"
if [ -n "$REQUIREMENTS" ]; then
  set -f # a word may hold a star, as in `numpy==2.*`
  # shellcheck disable=SC2086 # several words, on purpose; the workflow gives them, and nothing from a pull request
  "${pip[@]}" install $REQUIREMENTS
  # shellcheck disable=SC2086
  "$FOLDER/environment/bin/python" -I -m bench_core.ci.builds $REQUIREMENTS > "$FOLDER/builds.txt"
  "${pip[@]}" install -r "$FOLDER/builds.txt"
fi
