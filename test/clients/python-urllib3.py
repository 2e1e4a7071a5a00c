"""Calls each URL CALLS times, one after another: python-urllib3.py CALLS URL...

HTTPS_PROXY has the proxy for https, and CA_FILE the authorities to trust: urllib3 reads no variables.
"""

import os
import sys

import urllib3

calls, urls = int(sys.argv[1]), sys.argv[2:]
direct = urllib3.PoolManager()
proxied = urllib3.ProxyManager(os.environ["HTTPS_PROXY"], ca_certs=os.environ["CA_FILE"])
for url in urls:
    manager = proxied if url.startswith("https:") else direct
    for _ in range(calls):
        response = manager.request("GET", url, headers={"Authorization": "Token a"})
        print(response.status, url)
