#!/bin/sh
# Compile the bytecode of a tree and move the tree below /image with one mode and one time for all, so that the layer
# made from /image is the same whenever and wherever it is built.
#
#     seal.sh DIRECTORY
set -eu
# unchecked-hash: no source time in the bytecode, and nothing to check when it is loaded.
PYTHONHASHSEED=0 python -m compileall -q --invalidation-mode unchecked-hash "$1"
mkdir -p "/image$(dirname "$1")"
mv "$1" "/image$1"
chmod -R u=rwX,go=rX /image
find /image -exec touch -h -d @0 {} +
