#!/usr/bin/env bash
# The whole path, small enough for a coffee break: six drawn people, a short training, a table of predictions.
set -euo pipefail

fer prepare synthetic corpora/small --subjects 6 --frames 4 --folds 3 --out data/small
fer train difference --data data/small --encoder scratch --backbone mobilenet_v3_small --size 64 --epochs 2
fer evaluate

# The latest run is used. These pictures are crops already, so no detector is needed.
person=data/small/images/S001
fer predict "$person" --neutral "$person/S001_001_00000001.png" --detector none --out predictions.csv
