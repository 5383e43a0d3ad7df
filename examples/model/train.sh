#!/bin/sh
# The model that ships, from the data to the file: ./train.sh DATA OUT
# Goes on where it was stopped. Hours on two cores; the network, the recipes and the data are in this folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=$1
out=$2

[ -f "$out/data/parents.csv" ] || python "$here/make_data.py" "$data" "$out/data"
combine() { # name, data sets
    to=$1
    shift
    yolo9000 data combine "$@" --parents "$out/data/parents.csv" --settled "$here/meanings.csv" --out "$out/data/$to.yaml"
}
[ -f "$out/data/classifier.yaml" ] || combine classifier "$out/data/pictures.yaml" "$out/data/labels.yaml"
[ -f "$out/data/all.yaml" ] || combine all "$out/data/scenes.yaml" "$out/data/labels.yaml" \
    "$out/data/packages.yaml" "$data/fruit" "$data/coco128"

step() { # name, recipe, settings
    if [ -f "$out/$1/last.safetensors" ]; then return; fi
    if [ -d "$out/$1/checkpoints" ]; then yolo9000 train --resume "$out/$1"; return; fi
    run=$1
    recipe=$2
    shift 2
    yolo9000 train "$here/$recipe" "$@" --out "$out/$run"
}
step classifier-64 classifier-64.toml "data=$out/data/classifier.yaml"
step classifier-128 classifier-128.toml "data=$out/data/classifier.yaml" "start=$out/classifier-64/best.safetensors"
step detector detector.toml "data=$out/data/all.yaml" "start=$out/classifier-128/best.safetensors"
