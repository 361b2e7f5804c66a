# `make run` builds and runs a gateway on loopback, `make test` checks everything, `make bench` measures it.
.PHONY: setup run test keys bench torture simulate soak siege fuzz conformance mutants night docs deb image reproducible release

setup:
	@./dev/setup

run: setup
	@./dev/run

test:
	@./dev/setup test
	@./dev/test

# Looks for keys in the memory of the release build's processes; `make test` does so in the debug build's.
keys: setup
	@./dev/keys

bench: setup
	@./dev/bench

# Kills, stops, fills and garbles a gateway under load, then looks for lost mail. SEED=n repeats a schedule.
torture: setup
	@./dev/torture $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(RATE),--rate $(RATE)) $(if $(ONLY),--only $(ONLY))

# Some hundred histories a second of the store, with crashes, torn writes and lost power, in virtual time. SEED=n repeats one.
simulate: setup
	@SECONDS_IN_ALL=$(or $(SECONDS),60) ./dev/simulate

# Ten minutes of traffic with clients and inboxes that come and go: is everything level in the end?
soak: setup
	@./dev/torture --soak --seconds $(or $(SECONDS),600) --rate $(or $(RATE),1500)

# Attackers of every kind at once, while honest clients and mix nodes work: what did it cost them? ONLY=a,b picks attackers.
siege: setup
	@./dev/siege --seconds $(or $(SECONDS),60) $(if $(RATE),--rate $(RATE)) $(if $(ONLY),--only $(ONLY))

# Mutated input for everything that reads what strangers send; SECONDS_EACH=n for each of seventeen targets.
fuzz: setup
	@SECONDS_EACH=$(or $(SECONDS_EACH),60) ./dev/fuzz $(ONLY)

# Client software that others published, against the gateway. Builds some 600 crates the first time.
conformance: setup
	@./dev/conformance

# Changes the code that decides, one place at a time: which change does no test notice? Hours; SETS="core edge" for some of it.
mutants: setup
	@./dev/mutants $(SETS)

# The manual, as pages of the web in target/book.
docs: setup
	@./dev/docs

# Fuzzing, torture, siege and simulation for HOURS (8), with one summary.
night: setup
	@HOURS=$(or $(HOURS),8) ./dev/night

# The Debian package, with one of debug symbols, in target/dist.
deb:
	@./dev/setup package
	@./dev/deb

# An image for podman or docker, from the package.
image:
	@./dev/setup package
	@./dev/image

# Builds the package twice, in two folders: are the bytes the same?
reproducible:
	@./dev/setup package
	@./dev/reproducible

# Package, image, list of all dependencies, checksums: what is published.
release:
	@./dev/setup package
	@./dev/release
