#!/bin/sh
# Compile the bytecode of a folder and move it below /image with uniform modes and times, so that every build of the
# layer is identical.
#
#     seal.sh DIRECTORY
set -eu
# unchecked-hash: the bytecode has no source time, and Python does not check the source when it loads it.
PYTHONHASHSEED=0 python -m compileall -q --invalidation-mode unchecked-hash "$1"
mkdir -p "/image$(dirname "$1")"
mv "$1" "/image$1"
chmod -R u=rwX,go=rX /image
find /image -exec touch -h -d @0 {} +
