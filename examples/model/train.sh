#!/bin/sh
# The bundled model, from public files to the .onnx: ./train.sh SOURCES OUT
# Goes on where it was stopped. README.md says what must lie in SOURCES, and how long it takes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sources=$(cd "$1" && pwd) # absolute: OUT/coco128.yaml names files in it
out=$2
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
mkdir -p "$out/tables"
yolox="$sources/yolox_nano.onnx"
coco="$sources/coco"
tables="$out/tables"

unless() { # file, command: makes the file, whole or not at all
    made=$1
    shift
    [ -e "$made" ] || "$@"
}
table() { # name, arguments of label_table.py
    name=$1
    data=$2
    split=$3
    shift 3
    unless "$tables/$name.jsonl" python "$here/label_table.py" "$data" "$split" "$out/tree.yaml" "$tables/$name.jsonl" "$@"
}
features() { # name, folder of the images, further arguments of compute_features.py
    name=$1
    images=$2
    shift 2
    python "$here/compute_features.py" "$out/start.safetensors" "$images" "$tables/$name.jsonl" "$out/cache" "$name" "$@"
}

# The label tree, and both pretrained networks as one untrained detector over it
unless "$out/tree.yaml" python "$here/make_tree.py" "$here/imagenet.txt" "$out/tree.yaml"
unless "$out/efficientnet-lite0.safetensors" python "$here/../backbones/efficientnet_lite0.py" \
    "$sources/efficientnet-lite0-57934424.pth" "$here/imagenet.txt" "$out/efficientnet-lite0.safetensors"
unless "$out/start.safetensors" python "$here/make_start.py" "$yolox" "$out/efficientnet-lite0.safetensors" \
    "$out/tree.yaml" "$coco/classes.txt" "$out/start.safetensors"

# What is known of the training images
python "$here/photographs.py" "$sources/clones" "$out/photographs"
table photographs "$out/photographs" csv --take caltech101=1200 catdog=600 clothing=83 fddb=150 bsds=110 imagenette=2500 \
    --rename Longsleeve=shirt Polo=shirt Top=shirt Blouse=shirt Shoes=shoe Outwear="coat or sweater" \
    Blazer="coat or sweater" Hoodie="coat or sweater" Undershirt=clothing Body=clothing
table coco "$coco" train
table fruit "$sources/fruit" train
table packages "$sources/groceries-boxes" train --every 12 --rename beans="canned beans" corn="canned corn" \
    fish="canned fish" cake="boxed cake" coffee="ground coffee" oil="cooking oil" water="bottled water"
table groceries "$sources/groceries-labels/train" - --every 3 --rename Cabbage="head cabbage" Carrots=carrot

# The frozen layers' outputs
features photographs "$out/photographs"
features coco "$coco" --draws 2
features fruit "$sources/fruit"
features packages "$sources/groceries-boxes"
features groceries "$sources/groceries-labels/train"

# The class rows, twice: the second time image-level labels are learned where the first made them most likely
fit() { # start, out, epochs, learning rate
    unless "$out/$2.safetensors" python "$here/fit_classes.py" "$out/$1.safetensors" "$yolox" \
        "$out/efficientnet-lite0.safetensors" "$coco/classes.txt" "$out/cache" "$out/$2.safetensors" \
        --tables "$tables" --parts photographs coco fruit packages groceries --epochs "$3" --lr "$4"
}
fit start first 2 2e-3
fit first second 8 5e-4

# Objects that YOLOX-Nano has no class for are to be found as well
unless "$out/third.safetensors" python "$here/fit_objectness.py" "$out/second.safetensors" "$out/cache" "$out/third.safetensors" \
    --tables "$tables" --parts photographs coco

# coco128 is not trained on: it says how sure an answer must be
printf 'classes: %s\nval:\n  - {format: darknet, path: %s}\n' "$coco/classes.txt" "$sources/coco128/images/train2017" \
    >"$out/coco128.yaml"
unless "$out/calibrated.safetensors" yolo9000 calibrate "$out/third.safetensors" "$out/coco128.yaml" \
    --max-error 0.12 --min-score 0.25 --on-error fix --out "$out/calibrated.safetensors"
yolo9000 export "$out/calibrated.safetensors" --dtype int8 --out "$out/yolo9000-small.onnx" --overwrite
