#!/bin/sh
# Starts evcxr in a build folder that outlives the kernel, so that dependencies are compiled once.
#
# Arguments: evcxr_jupyter and the connection file. kernel.json sets LIBTORCH, and EVCXR_TMPDIR as the folder that
# holds the build folders. Notebooks that run at the same time must not share one: each takes the first that is free.
set -eu

here=$(dirname "$0")
all=$EVCXR_TMPDIR

# Jupyter started from a menu may not have rustup on its PATH.
command -v cargo > /dev/null || export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

# Cells are shared objects, which do not know where libtorch is. They look for Rust's own library by a path relative to where
# they were compiled, which evcxr's copies are not: it misses where both lie in one home folder.
std=$(rustc --print target-libdir)
export LD_LIBRARY_PATH="$LIBTORCH/lib:$std${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

number=1
while
    folder=$all/$number
    mkdir -p "$folder"
    # The lock lives as long as evcxr, which inherits the file.
    exec 9> "$folder/lock"
    command -v flock > /dev/null && ! flock -n 9
do
    number=$((number + 1))
done

# A further folder starts from what the first one has compiled; cargo's own lock waits for a build that runs there.
if [ "$number" -gt 1 ] && [ ! -e "$folder/target" ]; then
    rm -rf "$folder/copy"
    for built in "$all"/1/target/*/debug/.cargo-lock; do
        [ ! -e "$built" ] || flock -s "$built" cp -a "$all/1/target" "$folder/copy" 9>&-
    done
    [ ! -e "$folder/copy" ] || mv "$folder/copy" "$folder/target"
fi

# The versions that spectral was tested with, and how they are compiled.
cp "$here/Cargo.lock" "$folder/Cargo.lock"
mkdir -p "$all/.cargo"
cmp -s "$here/cargo.toml" "$all/.cargo/config.toml" || cp "$here/cargo.toml" "$all/.cargo/config.toml"

export EVCXR_TMPDIR="$folder"
exec "$1" --control_file "$2"
