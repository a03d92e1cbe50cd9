#!/usr/bin/env bash
# Every measurement that needs a GPU, in two stages of at most seven minutes on one H200. What is done is skipped, so a stage
# can be run again after a stop.
#
#   STAGE=1 OUT=out experiments/gpu/measure.sh                  # checks against the CPU, speed of views, step and run
#   STAGE=2 OUT=out DATA=cifar10 experiments/gpu/measure.sh     # CIFAR-10, ResNet-18: four methods with one budget
#   QUICK=1 STAGE=... ...                                       # a few steps of everything, to try the script on a CPU
#   python -m experiments.gpu.tables OUT                        # puts what was found into the documentation
#
# DATA is a folder with train.parquet and test.parquet, a zip, or a folder of parts by `python -m experiments.gpu.pack`.
# A machine without network: `make wheels PYTHON=python3.12` beforehand, and carry the folder `wheels/`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
OUT=${OUT:?the folder for what is found}
STAGE=${STAGE:?1 or 2}
LIMIT=${LIMIT:-420}
QUICK=${QUICK:-0}
EPOCHS=${EPOCHS:-40}
SEEDS=${SEEDS:-1}
METHODS=${METHODS:-simsiam byol barlow_twins vicreg}

if [ -d wheels ]; then
  python3 -m pip install --quiet --no-index --no-deps --target /tmp/site --upgrade wheels/*.whl
  export PYTHONPATH=/tmp/site${PYTHONPATH:+:$PYTHONPATH} PATH=/tmp/site/bin:$PATH
fi
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
zoo() { python3 -m ssl_zoo "$@"; }
mkdir -p "$OUT"
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | tee "$OUT/gpu.txt"

# do NAME FILE COMMAND...: run a command whose output is FILE, unless it is there; for as long as the stage has left
do_() {
  local name=$1 file=$2 left=$((LIMIT - SECONDS))
  shift 2
  if [ -s "$OUT/$file" ]; then echo "$name: there already"; return; fi
  if [ "$left" -lt 20 ]; then echo "$name: no time left" | tee -a "$OUT/left-out.txt"; return; fi
  local code=0
  timeout "$left" "$@" > "$OUT/$file.part" 2> "$OUT/log.txt" || code=$?
  if [ "$code" = 0 ]; then
    mv "$OUT/$file.part" "$OUT/$file"
  else
    { echo "$name left with code $code:"; tail -5 "$OUT/log.txt"; } | tee -a "$OUT/left-out.txt"
  fi
  echo "$name: $SECONDS s"
}

stage_1() {
  local quick=() checks=() rounds=(--rounds 3) large=(-s training.batch_size=256)
  if [ "$QUICK" = 1 ]; then quick=(--quick) checks=(--quick) rounds=(--rounds 1) large=(); fi
  do_ checks checks.log python3 -m experiments.gpu.checks --out "$OUT" "${checks[@]}"
  do_ "graph of the step" graph.log python3 -m experiments.gpu.check_graph --out "$OUT/graph.json" "${checks[@]}"
  do_ "step and run" bench-cifar10.json python3 -m ssl_zoo bench step pipeline --against lightly "${quick[@]}" "${rounds[@]}" --json
  do_ views bench-views.json python3 -m ssl_zoo bench views --against lightly "${quick[@]}" "${rounds[@]}" --json
  do_ "ResNet-50, 224 px" bench-imagenet.json \
    python3 -m ssl_zoo bench step --recipe simsiam "${large[@]}" "${quick[@]}" "${rounds[@]}" --json
  do_ profile profile.txt python3 -m ssl_zoo bench --profile "${quick[@]}"
  do_ "step, compiled" bench-compile.json \
    python3 -m ssl_zoo bench step -s training.compile=true "${quick[@]}" "${rounds[@]}" --json
}

stage_2() {
  local data=${DATA:?the CIFAR-10 folder or zip} sets=(-s training.batch_size=512 -s guard.policy=warn)
  if compgen -G "$data/*/*.parquet" >/dev/null; then # parts, which together are the data set
    mkdir -p "$OUT/data"
    for file in "$data"/*/*.parquet; do ln -sf "$(realpath "$file")" "$OUT/data/"; done
    data=$OUT/data
  fi
  local budget=(--epochs "$EPOCHS") recipes=()
  for method in $METHODS; do recipes+=("cifar10/$method"); done
  if [ "$QUICK" = 1 ]; then
    budget=(--max-steps 2)
    sets=(-s training.batch_size=16 -s guard.policy=warn -s encoder.width=0.125 -s evaluation.limit=64)
  fi
  sets+=(-s 'evaluation.protocols=[knn, linear]')
  zoo compare "${recipes[@]}" --data "$data" --seeds "$SEEDS" "${budget[@]}" "${sets[@]}" --out "$OUT/compare"
  cp "$OUT/compare/RESULTS.md" "$OUT/compare/comparison.json" "$OUT/compare/report.html" "$OUT/"
  (cd "$OUT/compare" && find . -name summary.json -o -name metrics.jsonl -o -name recipe.yaml) |
    tar -czf "$OUT/runs.tar.gz" -C "$OUT/compare" -T -
}

"stage_$STAGE"
echo "stage $STAGE: $SECONDS s"
