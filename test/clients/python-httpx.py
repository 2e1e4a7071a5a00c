"""Calls each URL CALLS times, one after another: python-httpx.py CALLS URL..."""

import sys

import httpx

calls, urls = int(sys.argv[1]), sys.argv[2:]
with httpx.Client() as client:
    for url in urls:
        for _ in range(calls):
            response = client.get(url, headers={"Authorization": "Token a"})
            print(response.status_code, url)
