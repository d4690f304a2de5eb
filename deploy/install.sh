#!/bin/sh
# Installs the service of this source tree into an environment of its own, with the packages of the lock, each held to its
# hash:
#
#     deploy/install.sh /opt/reelport
#
# EXTRAS: what it can do besides, such as "s3 spark".
#
# Packages come from the index that the environment names (UV_DEFAULT_INDEX, PIP_INDEX_URL). PYTHON: which one, 3.11 or newer.
set -eu
target=${1:?give the directory of the environment, such as /opt/reelport}
tree=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/build"
"${PYTHON:-python3}" -m venv --without-pip "$target"
"$work/build/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$tree/supply_chain/uv.txt"
if [ -n "${PIP_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"; fi
if [ -n "${PIP_CERT:-}" ]; then export SSL_CERT_FILE="${SSL_CERT_FILE:-$PIP_CERT}"; fi
export UV_PYTHON_DOWNLOADS=never
uv() { "$work/build/bin/uv" --quiet --project "$tree" "$@"; }

set -- --extra server
for extra in ${EXTRAS:-}; do set -- "$@" --extra "$extra"; done
uv export --frozen --no-default-groups "$@" --no-emit-project --output-file "$work/service.txt" >/dev/null
uv export --frozen --only-group build --no-emit-project --output-file "$work/backend.txt" >/dev/null
uv pip install --python "$work/build" --require-hashes -r "$work/backend.txt"
(cd "$tree" && "$work/build/bin/python" -m hatchling build --target wheel --directory "$work/wheel" >"$work/log" 2>&1) \
    || { cat "$work/log" >&2; exit 1; }
# Spark's client comes as a source, which is built by what the lock says; `sync` takes that away again.
isolation=
case " ${EXTRAS:-} " in *" spark "*)
    uv pip install --python "$target" --require-hashes -r "$work/backend.txt"
    isolation=--no-build-isolation ;;
esac
uv pip sync --python "$target" --compile-bytecode --require-hashes $isolation "$work/service.txt"
# `sync` keeps it, as if nobody had asked for it.
if [ -n "$isolation" ]; then uv pip uninstall --python "$target" setuptools; fi
uv pip install --python "$target" --compile-bytecode --no-deps --no-index "$work"/wheel/*.whl
"$target/bin/reelport" --version
