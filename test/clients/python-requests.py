"""Calls each URL CALLS times, one after another: python-requests.py CALLS URL..."""

import sys

import requests

calls, urls = int(sys.argv[1]), sys.argv[2:]
with requests.Session() as session:
    for url in urls:
        for _ in range(calls):
            response = session.get(url, headers={"Authorization": "Token a"})
            print(response.status_code, url)
