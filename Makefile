# The commands of mod_rustgi. Each is a line or two here; what takes more is a script in tools/ or is cargo's.

PYTHON  ?= /usr/bin/python3
APXS    ?= apxs
PORT    ?= 8000
APP     ?= examples/hello/app.wsgi
JOBS    ?= 4
DESTDIR ?=
SHORT   ?=
MINUTES ?= 10
SEED    ?=

export PYTHON APXS DESTDIR
# For cargo: the Python that the engine is built for.
export PYO3_PYTHON = $(PYTHON)

.PHONY: help module install uninstall serve test check soak bench bench-scale bench-load bench-growth bench-python bench-document clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1|/p' $(MAKEFILE_LIST) | column -t -s '|'

module: ## build the httpd module, and the engine for PYTHON
	@tools/prerequisites.sh build
	@tools/build.sh

install: ## install both where httpd looks for its modules
	@tools/install.sh

uninstall: ## take them away again
	@tools/install.sh --undo

serve: module ## serve APP at PORT with a private httpd, until Ctrl-C
	@tools/serve.sh "$(APP)" "$(PORT)"

# What is not about where applications run, or says itself where they do, is run once.
ONCE := auth commands costs daemon_ directive frameworks_together image old_directives wild

test: module check ## everything: workers alone, then a server with applications in its children, then in daemon processes
	@tools/prerequisites.sh test
	RUSTGI_MODULE="$$(tools/build.sh --where)/mod_rustgi.so" \
	  cargo test -p rustgi-tests --test worker -- --test-threads=$(JOBS)
	RUSTGI_MODULE="$$(tools/build.sh --where)/mod_rustgi.so" \
	  cargo test -p rustgi-tests --test server -- --test-threads=$(JOBS)
	RUSTGI_MODULE="$$(tools/build.sh --where)/mod_rustgi.so" RUSTGI_MODE=daemon \
	  cargo test -p rustgi-tests --test server -- --test-threads=$(JOBS) $(ONCE:%=--skip topics::%)

check: ## the quick part: format, clippy, unit tests, separations
	@tools/prerequisites.sh build
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace --exclude rustgi-tests
	cargo test -p rustgi-tests --test architecture

soak: module ## serve for MINUTES while processes are killed, stopped, reloaded and attacked, and check every answer
	@tools/prerequisites.sh test
	RUSTGI_MODULE="$$(tools/build.sh --where)/mod_rustgi.so" \
	  cargo run --package rustgi-tests --example soak -- --minutes $(MINUTES) $(SEED:%=--seed %)

# Measures parts, and writes them into the documentation. Its own Python is any; PYTHON is that of the applications.
BENCH = RUSTGI_MODULE="$$(tools/build.sh --where)/mod_rustgi.so" python3 tests/bench

bench: module ## compare with mod_wsgi and others, for half an hour (SHORT=1: for two minutes); tests/bench/README.md
	$(BENCH) $(if $(SHORT),comparison --short,comparison settings counts --minutes 25 --document docs/benchmarks.md)

bench-scale: module ## how rate and memory change with threads, processes, clients, sizes, applications; how long starts take
	$(BENCH) start-up scale --minutes 10 --document docs/benchmarks.md

bench-load: module ## latency, fairness and the cost of waiting below, at and above the capacity: six minutes
	$(BENCH) load --minutes 6 --document docs/benchmarks.md

bench-growth: module ## what memory does in a million requests
	$(BENCH) growth --document docs/benchmarks.md

bench-python: module ## what PYTHON costs, and how it computes on two processors
	$(BENCH) counts parallel --ours --document docs/benchmarks.md

bench-document: ## make the pages anew of the results that are there
	$(BENCH) --again --document docs/benchmarks.md

clean: ## remove what was built
	cargo clean
