#!/bin/sh
# Calls each URL CALLS times, one after another: wget.sh CALLS URL...
# CA_FILE has the authorities to trust.
set -eu
calls=$1
shift
for url; do
  for _ in $(seq "$calls"); do
    status=$(wget --server-response --output-document /dev/null --ca-certificate "$CA_FILE" \
      --header 'Authorization: Token a' "$url" 2>&1 | awk '$1 ~ /^HTTP\// { print $2 }')
    echo "$status $url"
  done
done
