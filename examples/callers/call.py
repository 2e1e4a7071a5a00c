"""Calls the API through Headgate, from Python 3.9 or later, with the standard library alone.

    API_TOKEN=… python3 call.py /domains

It prints the API's answer. If Headgate refuses the request, it waits for Retry-After and tries
again; after the last attempt it prints the refusal and exits with 1.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

HEADGATE_URL = os.environ.get("HEADGATE_URL", "http://127.0.0.1:8080")
ATTEMPTS = int(os.environ.get("ATTEMPTS", "3"))

headers = {
    # high, normal or low
    "Headgate-Priority": os.environ.get("PRIORITY", "normal"),
    # How long this caller lets a request wait for the budget.
    "Headgate-Max-Wait": os.environ.get("MAX_WAIT", "30s"),
}
# This caller's name; without it the gateway uses the User-Agent, or the caller's address.
if "CALLER" in os.environ:
    headers["Headgate-Caller"] = os.environ["CALLER"]
# The API's credential; leave it out if the gateway adds its own token.
if "API_TOKEN" in os.environ:
    headers["Authorization"] = "token " + os.environ["API_TOKEN"]
# This caller's key, if the gateway requires keys.
if "CALLER_KEY" in os.environ:
    headers["Headgate-Key"] = os.environ["CALLER_KEY"]


def send(path):
    """Sends one request. An error status is an answer as well, and raises nothing."""
    request = urllib.request.Request(HEADGATE_URL + path, headers=headers)
    try:
        # Without a timeout of its own: the gateway ends the wait at Headgate-Max-Wait.
        return urllib.request.urlopen(request)
    except urllib.error.HTTPError as answer:
        return answer


def call(path):
    for attempt in range(1, ATTEMPTS + 1):
        response = send(path)
        code = response.headers.get("Headgate-Error")
        if code is None:  # Without this header, the answer is the API's.
            return response

        problem = json.load(response)
        print(
            f"refused: {code}: {problem['detail']} (request {problem['requestId']})",
            file=sys.stderr,
            flush=True,
        )
        # Retry-After is present where waiting helps. It is a whole number of seconds.
        retry_after = response.headers.get("Retry-After")
        if retry_after is None or attempt == ATTEMPTS:
            sys.exit(1)
        time.sleep(int(retry_after))


response = call(sys.argv[1] if len(sys.argv) > 1 else "/domains")
print(response.status, response.read().decode())
print("took:", response.headers["Server-Timing"], file=sys.stderr)
