#!/bin/sh
# Pins the base image of the Dockerfile by the digest that its tag has at the registry now, for all
# platforms. Needs docker with buildx. A later run replaces the digest; so does Dependabot.
set -eu
cd "$(dirname "$0")/.."
image=$(sed -n 's/^FROM \([^ @]*\).* AS base$/\1/p' Dockerfile)
digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
if ! echo "$digest" | grep -Eqx 'sha256:[0-9a-f]{64}'; then
  echo "$image: expected a digest such as sha256:…, got: $digest" >&2
  exit 1
fi
sed "s|^FROM $image.* AS base\$|FROM $image@$digest AS base|" Dockerfile >Dockerfile.pinned
mv Dockerfile.pinned Dockerfile
grep '^FROM .* AS base$' Dockerfile
