#!/usr/bin/env bash
# A day with photographs: from a folder without labels to embeddings, neighbours, duplicates, a classifier of 200 labels and an
# encoder that ONNX Runtime takes.
#
#   bash photographs.sh PHOTOS LABELLED OUT [OPTION...]
#
# PHOTOS: a folder of pictures of any size. LABELLED: pictures in train/CLASS/ and test/CLASS/. OUT: a new folder.
# Options, such as `-s training.max_steps=300`, change the recipe that `init` writes.
set -euo pipefail
photos=$1 labelled=$2 out=$3
mkdir "$out"
ssl-zoo init simsiam --data "$photos" --out "$out/recipe.yaml" --no-estimate "${@:4}"
ssl-zoo train "$out/recipe.yaml" --out "$out/run"
ssl-zoo report "$out/run" --out "$out/report.html"
ssl-zoo embed "$out/run" --data "$photos" --out "$out/features.parquet"
ssl-zoo neighbours "$out/run" --data "$photos" --features "$out/features.parquet" --out "$out/neighbours.csv"
ssl-zoo duplicates "$out/run" --data "$photos" --features "$out/features.parquet" --out "$out/duplicates.csv"
ssl-zoo finetune "$out/run" --data "$labelled" --labels 200 --out "$out/classifier"
ssl-zoo export "$out/run" --to onnx --with-preprocessing --out "$out/encoder.onnx"
