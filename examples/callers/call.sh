#!/bin/sh
# Calls the API through Headgate with curl 7.76 or later.
#
#   API_TOKEN=… sh call.sh /domains
#
# It prints the answer, and any refusal before it. If Headgate refuses the request, curl waits for
# Retry-After and tries again. An error status in the last answer makes it exit with 22.
set -eu

path=${1:-/domains}
set --
# This caller's name; without it the gateway uses the User-Agent, or the caller's address.
[ -z "${CALLER:-}" ] || set -- "$@" --header "Headgate-Caller: $CALLER"
# The API's credential; leave it out if the gateway adds its own token.
[ -z "${API_TOKEN:-}" ] || set -- "$@" --header "Authorization: token $API_TOKEN"
# This caller's key, if the gateway requires keys.
[ -z "${CALLER_KEY:-}" ] || set -- "$@" --header "Headgate-Key: $CALLER_KEY"

# Headgate-Priority is high, normal or low. Headgate-Max-Wait is how long this caller lets a request
# wait for the budget.
exec curl --silent --show-error --fail-with-body --retry "$((${ATTEMPTS:-3} - 1))" \
  --header "Headgate-Priority: ${PRIORITY:-normal}" \
  --header "Headgate-Max-Wait: ${MAX_WAIT:-30s}" \
  "$@" "${HEADGATE_URL:-http://127.0.0.1:8080}$path"
