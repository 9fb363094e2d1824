#!/usr/bin/env bash
# Prints the folder that holds etcd, kube-apiserver, kubectl and helm, built once from their Go modules into an
# ignored folder.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
modules="$root/test/cluster"
version=$(sed -n 's,.*k8s.io/kubernetes v\([0-9.]*\).*,\1,p' "$modules/go.mod")
home="$root/.tools/cluster-$version"

say() { echo "cluster: $*" >&2; }

# What a finished build was made from: another version or flag makes another stamp, and with it a new build.
stamp=$(cat "$0" "$modules"/go.{mod,sum} "$modules"/helm/go.{mod,sum} | sha256sum | cut -d ' ' -f 1)
finished() { [ "$(cat "$home/stamp" 2>/dev/null)" = "$stamp" ]; }

if finished; then
  echo "$home"
  exit 0
fi

if ! command -v go >/dev/null 2>&1; then
  say 'no `go` on PATH. The tests run a real kube-apiserver, built from its Go module: install Go 1.26 or newer'
  say '(1.21 or newer will do where it may fetch its own toolchain), then run `make cluster`.'
  exit 1
fi

mkdir -p "$root/.tools"
exec 9>"$root/.tools/cluster.lock"
if ! flock --nonblock 9; then
  say 'another build is running; waiting for it ...'
  flock 9
fi
if finished; then
  echo "$home"
  exit 0
fi

# Static, and the same wherever it is built; what the shell has set for other work stays out.
export CGO_ENABLED=0 GOWORK=off GOFLAGS=-buildvcs=false
partial="$home.partial"
rm -rf "$partial"
mkdir -p "$partial"

# Counts the packages that `go build -v` names; every other line is an error, and shown.
progress() {
  awk -v step="$1" -v total="$2" '
    /^[a-zA-Z0-9._~\/-]+$/ { done++; if (done % 100 == 0) show(); next }
    { print > "/dev/stderr" }
    function show() { printf "cluster: %s: %d of %d packages\n", step, done, total > "/dev/stderr"; fflush() }'
}

build() { # build STEP NAME FOLDER PACKAGE LINKER_FLAGS
  local step="$1 $2" total started=$SECONDS
  say "$step: fetching modules ..."
  total=$(cd "$3" && go list -deps "$4" | wc -l)
  (cd "$3" && go build -v -trimpath -ldflags "-s -w $5" -o "$partial/$2" "$4") 2>&1 | progress "$step" "$total"
  say "$step: done in $((SECONDS - started)) s"
}

say "building Kubernetes $version from its Go modules: once, about 6 minutes on 2 cores"
say '(about 3 GB in the caches of Go, 300 MB here; a build that is stopped goes on where it was)'
kube=k8s.io/component-base/version
kube_flags="-X $kube.gitVersion=v$version -X $kube.gitMajor=1 -X $kube.gitMinor=$(echo "$version" | cut -d . -f 2)"
helm_version=$(sed -n 's,.*helm.sh/helm/v4 \(v[0-9.]*\).*,\1,p' "$modules/helm/go.mod")
build 1/4 etcd "$modules" go.etcd.io/etcd/server/v3 ''
build 2/4 kube-apiserver "$modules" k8s.io/kubernetes/cmd/kube-apiserver "$kube_flags"
build 3/4 kubectl "$modules" k8s.io/kubernetes/cmd/kubectl "$kube_flags"
build 4/4 helm "$modules/helm" helm.sh/helm/v4/cmd/helm "-X helm.sh/helm/v4/internal/version.version=$helm_version"
echo "$stamp" >"$partial/stamp"
rm -rf "$home"
mv "$partial" "$home"
say "done in $SECONDS s"
echo "$home"
