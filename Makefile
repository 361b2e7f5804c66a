# `make run` builds and runs a gateway on loopback, `make test` checks everything, `make bench` measures it.
.PHONY: setup run test bench torture conformance

setup:
	@./dev/setup

run: setup
	@./dev/run

test:
	@./dev/setup test
	@./dev/test

bench: setup
	@./dev/bench

# Kills, stops, fills and garbles a gateway under load, then looks for lost mail. SEED=n repeats a schedule.
torture: setup
	@./dev/torture $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(RATE),--rate $(RATE)) $(if $(ONLY),--only $(ONLY))

# Client software that others published, against the gateway. Builds some 600 crates the first time.
conformance: setup
	@./dev/conformance
