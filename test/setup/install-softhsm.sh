#!/bin/sh
# Prints the folder of a SoftHSM, with bin/softhsm2-util and lib/libsofthsm2.so: the one that is installed, or Debian's
# packages, unpacked once into an ignored folder. Prints nothing, and says why, where neither can be had.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
home="$root/.tools/softhsm"

none() {
  rm -rf "$home.partial"
  echo "no SoftHSM: $1; the tests with a token are skipped" >&2
  exit 0
}

# Links to what is there, under names that do not depend on the machine. It must also run: libraries may be missing.
settle() {
  mkdir -p "$3/bin" "$3/lib"
  ln -sf "$1" "$3/bin/softhsm2-util"
  ln -sf "$2" "$3/lib/libsofthsm2.so"
  "$3/bin/softhsm2-util" --version >/dev/null 2>&1
}

if [ ! -x "$home/bin/softhsm2-util" ]; then
  rm -rf "$home" "$home.partial"
  util=$(command -v softhsm2-util || true)
  module=$(find /usr/lib /usr/local/lib -name libsofthsm2.so 2>/dev/null | head -n 1)
  if [ -z "$util" ] || [ -z "$module" ] || ! settle "$util" "$module" "$home"; then
    rm -rf "$home"
    command -v apt-get >/dev/null 2>&1 || none 'it is not installed, and there is no apt-get to fetch it with'
    command -v dpkg >/dev/null 2>&1 || none 'it is not installed, and there is no dpkg to unpack it with'
    echo 'fetching SoftHSM from Debian (once, 0.5 MB) ...' >&2
    mkdir -p "$home.partial/unpacked"
    cd "$home.partial"
    if ! apt-get download -q softhsm2 libsofthsm2 >/dev/null 2>&1; then
      # The lists may be missing; only root may fetch them.
      apt-get update -q >/dev/null 2>&1 || true
      apt-get download -q softhsm2 libsofthsm2 >/dev/null 2>&1 || none 'apt-get cannot fetch it'
    fi
    for package in ./*.deb; do dpkg -x "$package" unpacked; done
    module=$(cd unpacked && find . -name libsofthsm2.so | head -n 1)
    [ -n "$module" ] || none 'its package has no module'
    cd "$root"
    mv "$home.partial" "$home"
    settle "$home/unpacked/usr/bin/softhsm2-util" "$home/unpacked/$module" "$home" || {
      rm -rf "$home"
      none 'it does not run on this machine'
    }
  fi
fi
echo "$home"
