#!/bin/sh
# Writes the address of the runbook into all alerts: scripts/runbook-url.sh https://wiki.example.com/headgate
# Each alert's link is this address, with the alert's name as the fragment.
set -eu
cd "$(dirname "$0")/.."
url=${1:-}
if ! printf '%s\n' "$url" | grep -Eqx 'https?://[A-Za-z0-9._~:/?@!$()*+,;=%-]+'; then
  echo "usage: $0 URL; expected an http or https URL without a fragment, got: $url" >&2
  exit 2
fi
for file in deploy/prometheus/headgate.rules.yaml deploy/prometheus/headgate.rules.test.yaml \
  deploy/kubernetes/monitoring/prometheus-rule.yaml; do
  # A comma cannot end the expression: it is escaped, as is no other character that a URL may have.
  escaped=$(printf '%s\n' "$url" | sed 's/,/\\,/g')
  sed "s,\(runbook_url: \).*#,\1$escaped#," "$file" >"$file.new"
  mv "$file.new" "$file"
done
grep -cF "$url#" deploy/prometheus/headgate.rules.yaml
