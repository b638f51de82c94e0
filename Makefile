# Builds, tests and installs coaming. `make` alone lists what there is.

CARGO ?= cargo
GNU := x86_64-unknown-linux-gnu
MUSL := x86_64-unknown-linux-musl
TARGET := $(or $(CARGO_TARGET_DIR),target)

# rustup's own folder; a root shell often does not have it.
export PATH := $(PATH):$(HOME)/.cargo/bin

# One build after another, each of much: incremental objects cost more than they save, and stale ones
# have been seen not to link.
export CARGO_INCREMENTAL := 0

# Tests wait for containers more than they work.
export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help prerequisites build agent install uninstall packages reproducible fmt lint test hunt test-kernels test-packages test-upgrade cross oracle bench fuzz mutants demo clean

help: ## Show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

prerequisites: ## Install what the build needs (Debian, as root; tests and demo install the rest)
	@integration/install.sh --build

build: ## Build the programs for release, all of them static
	packaging/static.sh $(CARGO) build --release --locked --target $(GNU) -p coaming-shim -p coaming-cli --bins
	$(CARGO) build --release --locked --target $(MUSL) -p containerd-shim-coaming -p coaming-labels -p coaming-hooks -p coaming-hook-harness --bins

agent: ## Build the node agent for Kubernetes, for release (docs/kubernetes.md)
	$(CARGO) build --release --locked -p coaming-agent --bins

install: ## Install what was built (as root; DESTDIR is honoured)
	@DESTDIR='$(DESTDIR)' TARGET='$(TARGET)' packaging/install.sh install

uninstall: ## Remove it again; /etc/coaming stays
	@DESTDIR='$(DESTDIR)' packaging/install.sh uninstall

packages: ## Make the deb, the rpm, the tarball and the list of their parts in target/packages (Debian, as root)
	@integration/install.sh --packages
	packaging/build.sh '$(TARGET)/packaged'
	TARGET='$(TARGET)/packaged' packaging/packages.sh '$(TARGET)/packages'

reproducible: ## Make the packages twice from two places, and compare (Debian, as root; two builds for release)
	@integration/install.sh --packages
	packaging/reproducible.sh

fmt: ## Format the code
	$(CARGO) fmt --all

lint: ## Check format, lints and, where cargo-deny is installed, dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --locked check; else echo "cargo-deny is not installed: dependencies are not checked"; fi

# Where random tests begin, so that a failure is there again on the next run. `make hunt` begins elsewhere each time.
SEED ?= 1

# CI=true: a test that cannot run here fails instead of being skipped.
test: prerequisites lint build ## Lint, and run every test against real containerd, runc and crun (as root)
	@integration/install.sh
	CI=true PROPTEST_RNG_SEED=$(SEED) COAMING_SEED=$(SEED) $(CARGO) test --workspace --locked --no-fail-fast

hunt: ## Run the random tests from new seeds, ROUNDS times (default 10)
	for round in $$(seq $(or $(ROUNDS),10)); do \
	  PROPTEST_CASES=4000 PROPTEST_MAX_GLOBAL_REJECTS=1000000 $(CARGO) test --quiet --workspace --locked --lib || exit 1; done

oracle: prerequisites ## Hold merged seccomp filters against their rules: 2,000 random pairs, 10 million points (as root)
	@integration/install.sh
	COAMING_ORACLE_PAIRS=2000 COAMING_ORACLE_POINTS=10000000 CI=true \
	  $(CARGO) test --locked -p coaming-integration --test seccomp algebra -- --nocapture

test-kernels: prerequisites ## Run tests in other kernels: User-Mode Linux, and QEMU with Debian's, one for aarch64 (as root; an hour)
	@integration/install.sh --kernels
	@integration/install.sh --cross
	CI=true RUST_TEST_THREADS=$$(nproc) $(CARGO) test --locked -p coaming-integration --test kernels guests:: -- --include-ignored --nocapture

test-packages: prerequisites build ## Make the packages, and install, upgrade and remove them in a fresh Debian (as root)
	@integration/install.sh
	@integration/install.sh --test-packages
	CI=true $(CARGO) test --locked -p coaming-integration --test packages -- --include-ignored

# An older commit, whose records and plans differ from today's.
OLDER ?= 3872452
OLD := $(or $(COAMING_OLD_CACHE),/var/cache/coaming-old)

test-upgrade: prerequisites build ## Replace the programs of an older commit (OLDER) under running containers, and go back (as root)
	@integration/install.sh
	integration/older.sh '$(OLDER)' '$(OLD)'
	CI=true COAMING_OLDER='$(OLD)/$(OLDER)' $(CARGO) test --locked -p coaming-integration --test upgrade -- --include-ignored --nocapture

CACHE := $(or $(COAMING_INTEGRATION_CACHE),/var/cache/coaming-integration)

# rust-lld: static programs that hold no C need no other compiler.
cross: ## Build the launcher, the hook, the wrapper and the containerd shim for aarch64 (Debian, as root)
	@integration/install.sh --cross
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld \
	  $(CARGO) build --release --locked --target aarch64-unknown-linux-musl -p coaming-hooks --bins
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc LIBSECCOMP_LIB_PATH='$(CACHE)/aarch64' \
	  $(CARGO) build --release --locked --target aarch64-unknown-linux-gnu -p containerd-shim-coaming -p coaming-shim --bins

bench: prerequisites build ## Compare the stock shim and coaming's on one node (as root; COAMING_BENCH_PODS, COAMING_BENCH_CREATES)
	@integration/install.sh
	$(CARGO) run --release --locked -p coaming-integration --bin bench
	$(CARGO) run --release --locked -p coaming-shim --example policy_cost

mutants: ## Change what decides in policy/, a line at a time, and see a test fail (FUNCTIONS, a regex; needs cargo-mutants; hours)
	$(CARGO) mutants --package coaming-policy --package coaming-seccomp --jobs 1 --timeout 300 \
	  --re '$(or $(FUNCTIONS),::(meet|join|tighten|at_least_as_strict_as|partition|selects|decide|normal|diff|logging)\b)' \
	  --output '$(TARGET)' -- --lib

fuzz: ## Run each fuzz target for SECONDS (default 60; needs cargo-fuzz and a nightly toolchain)
	cd fuzz && for target in $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs))); do \
	  $(CARGO) +nightly fuzz run "$$target" -- -max_total_time=$(or $(SECONDS),60) || exit 1; done

demo: prerequisites build ## Show a container that asks for too much (as root; leaves nothing running)
	@integration/install.sh --demo
	$(CARGO) run --locked -p coaming-integration --bin demo

clean: ## Remove what was built
	$(CARGO) clean
