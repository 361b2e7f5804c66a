# `make run` builds and runs a gateway on loopback, `make test` checks everything, `make bench` measures it.
.PHONY: setup run test bench

setup:
	@./dev/setup

run: setup
	@./dev/run

test:
	@./dev/setup test
	@./dev/test

bench: setup
	@./dev/bench
