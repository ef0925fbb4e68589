#!/usr/bin/env bash
# The wheel as a Debian package, by Debian's own tools, for trixie (Raspberry Pi OS of October 2025 and later): every
# library that edge-run needs is a package there, so nothing is vendored, and one package does for all architectures.
#
# Argument: the wheel. Wants apt-get install debhelper dh-python lintian unzip; the package comes to lie in dist/.
set -euo pipefail
cd "$(dirname "$0")/.."
wheel=$1 work=dist/deb
version=$(basename "$wheel" | cut -d- -f2)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s -r CHANGELOG.md)
export SOURCE_DATE_EPOCH
homepage=$(sed -n 's/^Repository = "\(.*\)"$/\1/p' pyproject.toml)
owner=$(basename "$(dirname "$homepage")")

rm -rf "$work"
mkdir -p "$work/edge-run/wheel"
cp -r deploy/debian README.md "$work/edge-run"
unzip -q "$wheel" -d "$work/edge-run/wheel"
cd "$work/edge-run"
sed -i "s|@HOMEPAGE@|$homepage|; s|@OWNER@|$owner|" debian/control debian/copyright
printf 'edge-run (%s) unstable; urgency=medium\n\n  * Release %s; see CHANGELOG.md of the source.\n\n -- The edge-run authors <%s@users.noreply.github.com>  %s\n' \
  "$version" "$version" "$owner" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" > debian/changelog
dpkg-buildpackage --build=binary --no-sign > ../build.log 2>&1 || { tail -40 ../build.log >&2; exit 1; }
cd ..
lintian --allow-root --fail-on error,warning ./*.deb
mv ./*.deb ..
cd ../..
ls dist/*.deb
