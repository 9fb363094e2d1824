#!/bin/sh
# Prints the path of the test's Istio client, built once for its source into an ignored folder.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
source="$root/test/certificates/go-client"
version=$(cat "$source/go.mod" "$source/go.sum" "$source/main.go" | sha256sum | cut -c 1-16)
client="$root/.tools/istio-client-$version"

if [ ! -x "$client" ]; then
  if ! command -v go >/dev/null 2>&1; then
    echo "the Istio client of the tests is written in Go, and there is no go on PATH: install Go 1.24 or newer" >&2
    exit 1
  fi
  echo "building the Istio client of the tests (once, about a minute) ..." >&2
  mkdir -p "$root/.tools"
  (cd "$source" && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -o "$client.partial" .)
  mv "$client.partial" "$client"
fi
echo "$client"
