#!/bin/sh
# The project's own Node (node_modules/.bin/node) needs libatomic1, which Debian's minimal systems do
# not have. As root on Debian this installs it; elsewhere it says what to install.
# npm installs Node as an optional package: it does not fail where no package fits the platform, or
# where the package that came does not match package-lock.json. This script fails then.
set -eu
node=$(dirname "$0")/../node_modules/.bin/node
if [ ! -e "$node" ]; then
  echo 'node_modules/.bin/node is missing: run npm ci. If it stays away, scripts/node/package.json has no Node for this platform, or the download failed or did not match package-lock.json' >&2
  exit 1
fi
"$node" --version >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo 'installing libatomic1, a library that Node needs'
  apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends libatomic1 >/dev/null
fi
if ! "$node" --version >/dev/null; then
  echo 'node_modules/.bin/node does not start: install libatomic1 (apt-get install libatomic1)' >&2
  exit 1
fi
