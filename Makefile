# `make run` builds and runs a gateway on loopback, `make test` checks everything, `make bench` measures it.
.PHONY: setup run test bench conformance

setup:
	@./dev/setup

run: setup
	@./dev/run

test:
	@./dev/setup test
	@./dev/test

bench: setup
	@./dev/bench

# Client software that others published, against the gateway. Builds some 600 crates the first time.
conformance: setup
	@./dev/conformance
