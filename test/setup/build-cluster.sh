#!/usr/bin/env bash
# Prints the folder that holds etcd, kube-apiserver, kubectl and helm, built once from their Go modules into an
# ignored folder.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
modules="$root/test/cluster"
version_of() { sed -n "s,.*$1 v\([0-9.]*\).*,\1,p" "$2"; }
version=$(version_of k8s.io/kubernetes "$modules/go.mod")
home="$root/.tools/cluster-$version"

# Small, static, and the same wherever it is built; what the shell has set for other work stays out.
export CGO_ENABLED=0 GOWORK=off GOFLAGS='-buildvcs=false -trimpath'
kube=k8s.io/component-base/version
kube_flags="-s -w -X $kube.gitVersion=v$version -X $kube.gitMajor=1 -X $kube.gitMinor=$(echo "$version" | cut -d . -f 2)"
helm_flags="-s -w -X helm.sh/helm/v4/internal/version.version=v$(version_of helm.sh/helm/v4 "$modules/helm/go.mod")"

say() { echo "cluster: $*" >&2; }

# What a finished build was made from: another version or flag makes another stamp, and with it a new build.
stamp=$({
  cat "$modules"/go.{mod,sum} "$modules"/helm/go.{mod,sum}
  echo "$GOFLAGS $kube_flags $helm_flags"
} | sha256sum | cut -d ' ' -f 1)
print_finished() { [ "$(cat "$home/stamp" 2>/dev/null)" = "$stamp" ] && echo "$home"; }

if print_finished; then exit 0; fi

if ! command -v go >/dev/null 2>&1; then
  say 'no "go" on PATH. The tests run a real kube-apiserver, built from its Go module: install Go 1.26 or newer'
  say '(1.21 or newer will do, where it may fetch a newer one by itself), then run "make cluster".'
  exit 1
fi

mkdir -p "$root/.tools"
exec 9>"$root/.tools/cluster.lock"
if ! flock --nonblock 9; then
  say 'another build is running; waiting for it ...'
  flock 9
fi
if print_finished; then exit 0; fi

partial="$home.partial"
rm -rf "$partial"
mkdir -p "$partial"
trap '[ $? = 0 ] || say "not built: what is above says why. What was compiled is kept for the next try"' EXIT

# Counts the packages that `go build -v` names; every other line is an error, and shown.
progress() {
  awk -v step="$1" -v total="$2" '
    /^[a-zA-Z0-9._~\/-]+$/ { if (++done % 100 == 0) say(done " of " total " packages"); next }
    { print > "/dev/stderr" }
    function say(what) { print "cluster: " step ": " what > "/dev/stderr"; fflush() }'
}

build() { # build STEP NAME FOLDER PACKAGE LINKER_FLAGS
  local step="$1 $2" total started=$SECONDS
  say "$step: fetching modules ..."
  cd "$3"
  total=$(go list -deps "$4" | wc -l)
  say "$step: compiling $total packages, less those that are compiled already ..."
  go build -v -ldflags "$5" -o "$partial/$2" "$4" 2>&1 | progress "$step" "$total"
  say "$step: done in $((SECONDS - started)) s"
}

say "building Kubernetes $version from its Go modules: once, about 10 minutes on 2 cores"
say '(4 GB in the caches of Go, 250 MB here)'
build 1/4 etcd "$modules" go.etcd.io/etcd/server/v3 '-s -w'
build 2/4 kube-apiserver "$modules" k8s.io/kubernetes/cmd/kube-apiserver "$kube_flags"
build 3/4 kubectl "$modules" k8s.io/kubernetes/cmd/kubectl "$kube_flags"
build 4/4 helm "$modules/helm" helm.sh/helm/v4/cmd/helm "$helm_flags"
echo "$stamp" >"$partial/stamp"
rm -rf "$home"
mv "$partial" "$home"
say "done in $SECONDS s"
print_finished
