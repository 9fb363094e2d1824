# Countersign. `make` prints the targets.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
.DEFAULT_GOAL := help
.PHONY: help build check test test-deep bench demo envoy softhsm cluster clean

schema := proto/gen/envoy.json
installed := node_modules/.package-lock.json

help: ## print the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

build: $(schema) ## install packages and make the schema; cmd/countersign runs after it

check: build ## format, lint, types, layers, protos
	@npm run --silent check

test: build envoy softhsm cluster ## every test, on real Envoys and a real kube-apiserver
	@npm run --silent test

test-deep: build envoy cluster ## what takes long: 200,000 pairs of policy and request (EQUALITY_SEED, EQUALITY_PAIRS), 300,000 hostile texts and documents each (FUZZ_SEED, FUZZ_CASES; FUZZ_MINUTES=60: an hour of each), and 50 kills of the control plane while its root rotates (KILL_SEED, KILLS); the API server away for five minutes, twice (OUTAGE_SECONDS)
	@npm run --silent test:deep

bench: build cluster ## speed, as ratios to limits measured in the same run (ARGS='--only NAME', '--json FILE')
	@node test/bench/main.ts $(ARGS)

demo: build envoy ## a small shop behind real Envoys: who may call whom, live (ARGS=--keep leaves it running)
	@node test/demo/main.ts $(ARGS)

envoy: build
	@mkdir -p .tools
	@test/setup/install-envoy.sh >.tools/envoy-path

softhsm: build
	@mkdir -p .tools
	@test/setup/install-softhsm.sh >.tools/softhsm-path

cluster: ## etcd, kube-apiserver, kubectl and helm for the tests, built once from their Go modules: minutes
	@test/setup/build-cluster.sh >/dev/null

clean: ## remove everything that was installed or generated
	rm -rf node_modules proto/gen .tools .cache

$(installed): package.json package-lock.json
	@echo 'installing npm packages (Node 26 among them) ...' >&2
	@# Not `npm ci`: it refuses a lock without the optional binaries of other platforms.
	@npm install --no-save --no-audit --no-fund --loglevel=error
	@mkdir -p .tools
	@touch $@

$(schema): $(installed) proto/generate.ts $(wildcard proto/*/*/*/*.proto)
	@node proto/generate.ts
	@touch $@
