#!/bin/sh
# Calls each URL CALLS times, one after another: curl.sh CALLS URL...
set -eu
calls=$1
shift
for url; do
  for _ in $(seq "$calls"); do
    curl --silent --show-error --output /dev/null --write-out "%{http_code} $url\n" \
      --header 'Authorization: Token a' "$url"
  done
done
