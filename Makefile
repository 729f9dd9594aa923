# kmdev: every target does its own set-up. `make demo` and `make test` work on a fresh Debian 12 machine with Go.

CACHE    := $(or $(KMDEV_CACHE),$(HOME)/.cache/kmdev)
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 10s
STATICCHECK_VERSION := v0.8.2
STATICCHECK := $(CACHE)/bin/staticcheck-$(STATICCHECK_VERSION)

export CGO_ENABLED := 0
# Go's random heap base would lie in the payload's window (monitor/hostcall/window_amd64.s keeps it out, at the cost of a search).
export GOEXPERIMENT := norandomizedheapbase64

# The entry point (cmd/kmdev, monitor/hostcall) blocks every signal and begins with the VM before the Go runtime starts.
LDFLAGS := -X main.version=$(VERSION) -E kmdev_main_rt0

.DEFAULT_GOAL := build
.PHONY: help build setup demo test unit e2e compat test-full test-amdv bench soak lint fmt fuzz generate clean

build: ## bin/kmdev, one static binary
	@go build -trimpath -ldflags '$(LDFLAGS)' -o bin/kmdev ./cmd/kmdev

setup: ## install what this machine lacks (Debian packages)
	@scripts/setup.sh test

demo: ## a C program in its own VM, debugged by gdb
	@scripts/setup.sh demo
	@$(MAKE) -s build
	@scripts/demo.sh

test: setup lint unit e2e test-amdv ## everything that CI checks

# -count=1 throughout: tests run binaries that go's test cache knows nothing of.
UNIT = $(shell go list ./... | grep -v -e /e2e -e /amdv -e /bench)

unit: ## tests of the packages
	go test -count=1 -timeout 10m $(UNIT)

e2e: setup build ## whole programs and gdb sessions in bin/kmdev
	go test -count=1 -timeout 20m ./e2e/...

test-full: setup ## test, plus more of it (1,000 runs of hello, 100 of 200 threads, a minute of make soak)
	KMDEV_FULL=1 $(MAKE) test

compat: setup build ## docs/compatibility.md: run what people have, natively and in VMs
	KMDEV_FULL=1 go test -count=1 -timeout 40m ./e2e -run '^TestCompat$$' -compat-page

test-amdv: build ## kmdev under QEMU's emulated AMD-V
	@scripts/setup.sh test amdv
	go test -timeout 10m -count=1 ./amdv

bench: setup build ## the table of ratios, native against kmdev
	@go run ./bench

SOAK_SECONDS ?= 1800

soak: setup build ## half an hour (SOAK_SECONDS) of stress-ng, redis and a forking shell at once: flat memory, nothing left
	SOAK_SECONDS=$(SOAK_SECONDS) go test -count=1 -v -timeout $$(($(SOAK_SECONDS) + 600))s ./e2e -run '^TestSoakTree$$'

lint: $(STATICCHECK) ## gofmt, go vet, staticcheck, the import rules
	@scripts/lint.sh $(STATICCHECK)

$(STATICCHECK):
	@mkdir -p $(@D)
	GOBIN=$(@D)/tmp go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)
	@mv $(@D)/tmp/staticcheck $@

fmt: ## format the Go sources
	@gofmt -l -w $$(git ls-files '*.go')

fuzz: ## every fuzz target for FUZZTIME (10s)
	@scripts/fuzz.sh $(FUZZTIME)

generate: ## regenerate docs and tables
	go generate ./...

clean:
	rm -rf bin

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t14
