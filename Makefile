# make help lists the targets.

GO       ?= go
NPM      ?= npm
ifndef CHROMIUM
CHROMIUM := $(or $(shell for name in chromium chromium-browser google-chrome; do command -v $$name && break; done),/usr/bin/chromium)
endif
BINARY   := tokenrelay
PAGE     := frontend/dist/index.html
FUZZTIME ?= 30s
export CHROMIUM

# What the page and the binary are made of.
PAGE_SOURCES := $(shell find frontend/src frontend/public frontend/*.html frontend/*.json frontend/*.ts frontend/*.js -type f 2>/dev/null)
GO_SOURCES   := $(shell find main.go chunker cli frontend/embed.go server session -name '*.go') go.mod go.sum

.DEFAULT_GOAL := help
.PHONY: help run test race fuzz ui dev lint e2e soak bench unit contract page-test chromium screenshots clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile

run: $(BINARY) ## Build the page and the binary if needed, and serve on http://127.0.0.1:8080
	./$(BINARY) serve $(ARGS)

test: lint unit race page-test contract e2e ## Everything that CI runs; installs what it needs.

unit: ## Go tests: no browser, no page, under 90 s.
	$(GO) test -timeout 10m ./...

race: ## Go tests under the race detector; fewer generated texts.
	$(GO) test -race -short -timeout 15m ./...

fuzz: ## Each fuzz target for FUZZTIME (30s).
	@set -e; for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
		done; \
	done

ui: $(PAGE) ## Build the page into frontend/dist.

dev: frontend/node_modules ## Serve the page from its sources, with the API of a running relay.
	cd frontend && $(NPM) run dev

lint: frontend/node_modules ## gofmt, go vet, staticcheck, and the page's types.
	@folders=$$($(GO) list -f '{{.Dir}}' ./... && cd contract && $(GO) list -f '{{.Dir}}' ./...) && unformatted=$$(gofmt -l $$folders) || exit 1; \
		test -z "$$unformatted" || { echo "gofmt would change: $$unformatted"; exit 1; }
	$(GO) vet ./...
	cd contract && $(GO) vet ./...
	$(GO) tool -modfile=.ci/tools.mod staticcheck -checks "$$(cat .ci/staticcheck.checks)" ./...
	cd frontend && $(NPM) run check

page-test: frontend/node_modules ## Tests of the client library and the page, without a browser.
	cd frontend && $(NPM) test

contract: $(BINARY) contract/node_modules ## Foreign clients and a foreign upstream against the binary.
	cd contract && TOKENRELAY_BIN=$(CURDIR)/$(BINARY) $(GO) test -count=1 ./...
	cd contract && TOKENRELAY_BIN=$(CURDIR)/$(BINARY) $(NPM) test

e2e: $(BINARY) frontend/node_modules chromium ## The page in a real Chromium against the binary.
	cd frontend && TOKENRELAY_BIN=$(CURDIR)/$(BINARY) $(NPM) run e2e

soak: $(BINARY) frontend/node_modules chromium ## The long forms: many cuts, a real stalled minute, long fuzzing.
	$(GO) test -tags soak -count=1 -timeout 60m -v -run 'RandomCuts|NobodyWaits|StalledReader' ./server
	$(GO) test -tags soak -count=1 -timeout 60m -v -run RandomPrograms ./session
	$(GO) test -tags soak -count=1 -timeout 60m -v -run Crash ./cli
	cd frontend && TOKENRELAY_BIN=$(CURDIR)/$(BINARY) $(NPM) run soak
	$(MAKE) fuzz FUZZTIME=3m

bench: $(BINARY) frontend/node_modules chromium ## Benchmarks; the relay's figures come as ratios to a floor of the same run.
	$(GO) test -run '^$$' -bench . ./chunker ./session ./session/pebblestore ./session/upstream ./server
	cd frontend && TOKENRELAY_BIN=$(CURDIR)/$(BINARY) $(NPM) run bench

screenshots: $(BINARY) frontend/node_modules chromium ## Take the pictures of the documentation from the running page.
	cd frontend && TOKENRELAY_BIN=$(CURDIR)/$(BINARY) $(NPM) run screenshots

clean: ## Remove what was built; node_modules stay.
	rm -rf $(BINARY) contract/bin
	find frontend/dist -type f ! -name placeholder.txt -delete

chromium:
	@if [ ! -x "$(CHROMIUM)" ]; then \
		echo "Chromium is missing: installing it with apt"; \
		command -v apt-get >/dev/null || { echo "there is no apt here: install Chromium and set CHROMIUM to it"; exit 1; }; \
		sudo=$$(test "$$(id -u)" = 0 || echo sudo); \
		$$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium; \
		test -x "$(CHROMIUM)" || { echo "still no Chromium at $(CHROMIUM): set CHROMIUM to it"; exit 1; }; \
	fi

$(BINARY): $(PAGE) $(GO_SOURCES)
	$(GO) build -o $@ .

$(PAGE): frontend/node_modules $(PAGE_SOURCES)
	cd frontend && $(NPM) run build
	@touch $@

frontend/node_modules: frontend/package.json frontend/package-lock.json
	cd frontend && $(NPM) ci --include=dev --no-audit --no-fund
	@touch $@

contract/node_modules: contract/package.json contract/package-lock.json
	cd contract && $(NPM) ci --include=dev --no-audit --no-fund
	@touch $@
