# Two commands: `make run` builds and runs a gateway on loopback, `make test` checks everything.
.PHONY: setup run test

setup:
	@./dev/setup

run: setup
	@./dev/run

test:
	@./dev/setup test
	@./dev/test
