"""Calls each URL CALLS times, one after another: python-httpx.py CALLS URL..."""

import sys

import httpx

calls, urls = int(sys.argv[1]), sys.argv[2:]
# Its own timeout is five seconds, which a busy machine may exceed.
with httpx.Client(timeout=120) as client:
    for url in urls:
        for _ in range(calls):
            response = client.get(url, headers={"Authorization": "Token a"})
            print(response.status_code, url)
