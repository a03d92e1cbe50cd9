#!/usr/bin/env bash
# Every measurement that needs a GPU, in one go. What is done already is skipped, so it can be run again after a stop.
#
#   DATA=cifar10 OUT=out experiments/gpu/measure.sh            # DATA: folder with train.parquet and test.parquet
#   QUICK=1 DATA=cifar10-small.zip OUT=out ...                  # two steps of everything, to try the script on a CPU
#   METHODS="simsiam byol" EPOCHS=100 ...                       # fewer methods, another budget
#
# A machine without network: `make wheels PYTHON=python3.12` beforehand, and carry the folder `wheels/`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
DATA=${DATA:?the CIFAR-10 folder or zip}
OUT=${OUT:?the folder for the runs}
EPOCHS=${EPOCHS:-200}
METHODS=${METHODS:-simsiam byol barlow_twins vicreg fastsiam swav dino lejepa corinfomax tico mmcr frossl vibcreg}
SEEDS=${SEEDS:-0}

if [ -d wheels ]; then python3 -m pip install --quiet --no-index --no-deps wheels/*.whl; fi
sets=(-s "training.epochs=$EPOCHS" -s training.batch_size=512 -s guard.policy=warn)
if [ "${QUICK:-0}" = 1 ]; then
  sets=(-s training.max_steps=2 -s training.batch_size=16 -s evaluation.limit=64 -s 'encoder.width=0.125' -s 'evaluation.protocols=[knn]')
fi

mkdir -p "$OUT"
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | tee "$OUT/gpu.txt"
for seed in $SEEDS; do
  for method in $METHODS; do
    run="$OUT/cifar10/$method-seed$seed"
    if [ -f "$run/summary.json" ] && ! grep -q '"status": "interrupted"' "$run/summary.json"; then continue; fi
    resume=(); if [ -f "$run/recipe.yaml" ]; then resume=(--resume); fi
    # 0 done, 3 collapsed: a result; 75 out of time: resume it later; anything else is an error of this method alone
    code=0
    ssl-zoo train "cifar10/$method" --data "$DATA" --seed "$seed" --out "$run" "${resume[@]}" "${sets[@]}" \
      ${MAX_TIME:+--max-time "$MAX_TIME"} || code=$?
    if [ "$code" = 75 ]; then echo "out of time in $method; run this again"; exit 75; fi
    if [ "$code" != 0 ] && [ "$code" != 3 ]; then echo "$method left with code $code" | tee -a "$OUT/errors.txt"; fi
  done
done

# Speed: views, the bare step with its roofline and the real run against lightly's loop, with peak memory; a folder of
# JPEGs; ResNet-50 at 224 px from memory, plain and with the options that may help.
quick=(); if [ "${QUICK:-0}" = 1 ]; then quick=(--quick --rounds 1); fi
ssl-zoo bench views folder data eval --against lightly "${quick[@]}" --json > "$OUT/bench-parts.json"
if [ "${QUICK:-0}" = 1 ]; then
  ssl-zoo bench step pipeline --against lightly "${quick[@]}" --json > "$OUT/bench-cifar10.json"
else
  ssl-zoo bench step pipeline --data "$DATA" --against lightly --rounds 5 --json > "$OUT/bench-cifar10.json"
  ssl-zoo bench step pipeline --recipe simsiam -s training.batch_size=256 --rounds 5 --json > "$OUT/bench-imagenet.json"
  for option in compile gradient_checkpointing; do
    ssl-zoo bench step --recipe simsiam -s training.batch_size=256 -s "training.$option=true" --rounds 5 --json \
      > "$OUT/bench-imagenet-$option.json"
    ssl-zoo bench step --data "$DATA" -s "training.$option=true" --rounds 5 --json > "$OUT/bench-cifar10-$option.json"
  done
  ssl-zoo bench --profile --data "$DATA" > "$OUT/profile-cifar10.txt"
fi
ssl-zoo report "$OUT"/cifar10/*-seed* --out "$OUT/report.html" --title "CIFAR-10, ResNet-18, batch 512, $EPOCHS epochs"
