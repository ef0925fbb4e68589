#!/usr/bin/env bash
# uv 0.13.9 and ai-edge-litert 2.3.0: a universal lock for Python 3.11 holds a release that pip refuses on Python 3.11.
#
# One would expect: what `uv pip compile --universal --python-version 3.11` writes installs with pip on Python 3.11.
# What happens: ai-edge-litert asks for backports.strenum of any version on every Python. The newest release says that it
# wants a Python below 3.11. The locker leaves upper bounds of Requires-Python out of account, on purpose, and takes it;
# pip heeds them and ends with "No matching distribution found". Installed without a lock, pip takes an older release.
# Why it matters: LiteRT is what runs a .tflite on a Raspberry Pi, and who locks it with hashes has an image that does not
# build. The way out is a bound for the locker alone: backports.strenum<1.3.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "uv==0.13.9"
cd "$folder"
echo "ai-edge-litert==2.3.0" > in.txt
venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url in.txt > lock.txt
python=$(venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
venv/bin/uv --version | cut -d' ' -f1,2; venv/bin/pip --version | cut -d' ' -f1,2; echo "Python $python"
locked=$(grep backports lock.txt); echo "locked: $locked"
if venv/bin/pip download --quiet --no-deps --dest there "$locked" 2> refused.txt; then
  echo "pip takes it now: it has changed"; exit 1
fi
grep "No matching distribution" refused.txt
venv/bin/pip download --quiet --no-deps --dest there "backports.strenum" && ls there
