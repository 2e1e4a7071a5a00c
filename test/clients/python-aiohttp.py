"""Calls each URL CALLS times, one after another: python-aiohttp.py CALLS URL..."""

import asyncio
import sys

import aiohttp


async def main(calls, urls):
    async with aiohttp.ClientSession(trust_env=True) as session:
        for url in urls:
            for _ in range(calls):
                async with session.get(url, headers={"Authorization": "Token a"}) as response:
                    await response.read()
                    print(response.status, url)


asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
