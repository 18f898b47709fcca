# The commands of mod_rustgi. Each is a line or two here; what takes more is a script in tools/ or is cargo's.

PYTHON  ?= /usr/bin/python3
APXS    ?= apxs
PORT    ?= 8000
APP     ?= examples/hello/app.wsgi
JOBS    ?= 4
DESTDIR ?=
SHORT   ?=

export PYTHON APXS DESTDIR
# For cargo: the Python that the engine is built for.
export PYO3_PYTHON = $(PYTHON)

.PHONY: help module install uninstall serve test check bench bench-scale clean

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

bench: module ## compare with mod_wsgi and others, for an hour (SHORT=1: for two minutes); tests/bench/README.md
	RUSTGI_MODULE="$$(tools/build.sh --where)/mod_rustgi.so" \
	  $(PYTHON) tests/bench $(if $(SHORT),--short,--document docs/benchmarks.md)

bench-scale: module ## how rate and memory change with threads, processes, clients, sizes and applications
	RUSTGI_MODULE="$$(tools/build.sh --where)/mod_rustgi.so" \
	  $(PYTHON) tests/bench --scale --document docs/benchmarks.md

clean: ## remove what was built
	cargo clean
