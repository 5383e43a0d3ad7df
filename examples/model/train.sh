#!/bin/sh
# The model that ships, from the data to the file: ./train.sh DATA OUT
# Goes on where it was stopped. Hours on two cores; the network, the recipes and the data are in this folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=$1
out=$2
processes=${PROCESSES:-2} # one a core: faster than one process for all of them, as the network is small
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

# Data whose making was stopped are made again.
[ -d "$out/data" ] || {
    rm -rf "$out/data.new"
    python "$here/make_data.py" "$data" "$out/data.new"
    mv "$out/data.new" "$out/data"
}
combine() { # name, data sets
    to=$1
    shift
    if [ -f "$out/data/$to.yaml" ]; then return; fi
    yolo9000 data combine "$@" --parents "$out/data/parents.csv" --overrides "$here/meanings.csv" --out "$out/data/$to.yaml"
}
combine classifier "$out/data/images.yaml" "$out/data/labels.yaml"
combine all "$out/data/scenes.yaml" "$out/data/labels.yaml" "$out/data/packages.yaml" "$data/fruit" "$data/coco128"

[ -f "$out/data/small.yaml" ] || {
    rm -rf "$out/data/small"
    python "$here/make_small.py" "$out/data"
}
[ -f "$out/data/objects.yaml" ] || {
    rm -rf "$out/data/objects" "$out/data/objects-val"
    python "$here/cut_objects.py" "$out/data"
}
[ -f "$out/data/mixed.yaml" ] || {
    rm -rf "$out"/data/mixed-*
    python "$here/mix_photographs.py" "$data" "$out/data"
}

step() { # name, recipe, settings
    if [ -f "$out/$1/last.safetensors" ]; then return; fi
    run=$1
    recipe=$2
    shift 2
    train="torchrun --nproc-per-node $processes -m yolo9000 train"
    if [ -d "$out/$run/checkpoints" ]; then
        $train --resume "$out/$run"
    else
        $train --recipe "$here/$recipe" "$@" --out "$out/$run"
    fi
}
step classifier-64 classifier-64.toml "data=$out/data/classifier.yaml"
step classifier-128 classifier-128.toml "data=$out/data/classifier.yaml" "start=$out/classifier-64/last.safetensors"
step objects classifier-objects.toml "data=$out/data/objects.yaml" "start=$out/classifier-128/last.safetensors"
step detector detector.toml "data=$out/data/mixed.yaml" "start=$out/objects/last.safetensors"
step again detector-again.toml "data=$out/data/more.yaml" "start=$out/detector/last.safetensors"
# Three times as much again, from the rate of step 4; two processes take more images a second of batches of 64.
step longer detector-again.toml "data=$out/data/more.yaml" "start=$out/again/last.safetensors" \
    epochs=12 batch=64 evaluate_every=4 checkpoint_every=200 optimizer.lr=0.002

# Scenes and single images of the validation split say how sure an answer must be; 8 bits a weight make a quarter of the size.
[ -f "$out/calibrated.safetensors" ] || yolo9000 calibrate "$out/longer/last.safetensors" "$out/data/calibrate.yaml" \
    --max-error 0.2 --on-error fix --out "$out/calibrated.safetensors"
yolo9000 export "$out/calibrated.safetensors" --dtype int8 --out "$out/yolo9000-small.onnx" --overwrite
