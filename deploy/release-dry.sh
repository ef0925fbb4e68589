#!/usr/bin/env bash
# A release without publishing it: what would go to the package index is built twice, compared, examined and tried.
#
# Arguments: the python of an environment with the extra [dev]. Everything goes into dist/release.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 out=dist/release
version=$("$python" -c 'import edge; print(edge.__version__)')
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s -r CHANGELOG.md)
export SOURCE_DATE_EPOCH

say() { printf '\n%s\n' "$*"; }

say "1. CHANGELOG.md begins with $version, dated"
first=$(grep -m1 '^## ' CHANGELOG.md)
echo "$first"
dated="^## ${version//./\\.} \([0-9]{4}-[0-9]{2}-[0-9]{2}\)$"

say "2. source archive, and the wheel out of it: twice, the same to the bit"
rm -rf "$out"
for round in first second; do
  "$python" -m build --quiet --no-isolation --outdir "$out/$round" . # the wheel is built from the archive
done
(cd "$out/first" && sha256sum ./*) > "$out/SHA256SUMS"
(cd "$out/second" && sha256sum --check "../SHA256SUMS")

say "3. the package index would take it"
"$python" -m twine check --strict "$out"/first/*

say "4. the tests of the source archive's own pages and plug-ins, from the archive alone"
mkdir "$out/unpacked"
tar -xzf "$out/first/edge_run-$version.tar.gz" -C "$out/unpacked" --strip-components 1
(cd "$out/unpacked" && "$python" -m pytest -q -n 0 -p no:cacheprovider tests/contracts)

if [[ ! $first =~ $dated ]]; then
  say "Not ready, all else is: CHANGELOG.md begins with '$first'. Before a release it has the number of edge/__init__.py and a date."
  exit 0
fi
say "Ready: $out/first. Nothing was published. Next, by somebody who may: docs/CONTRIBUTING.md, 'Commits and releases'."
