# The few commands of this project; CONTRIBUTING.md says more.

.PHONY: test peers check ci bench gallery

# Installs what the tests need, then runs every test. A missing peer fails the run.
test: peers
	cargo test --locked --no-fail-fast

# DCMTK, Orthanc, nginx, curl, OpenSSL and Chromium by apt; the Python clients in .peers/venv.
peers:
	tests/peers/install

# What a change must pass besides the tests.
check:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps

# Everything, as the continuous integration runs it.
ci:
	.ci/run

# The table of docs/benchmarks.md, measured here: about half an hour on two idle cores. ARGS="--quick" for a look.
bench:
	bench/run $(ARGS)

# What is shown of the corpus, beside what DCMTK shows and the difference: target/gallery.png, for a person to look at.
gallery:
	GANTRY_GALLERY=$(CURDIR)/target/gallery.png cargo test --locked --test it -- image::gallery
