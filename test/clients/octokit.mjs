// Calls each URL CALLS times, one after another: octokit.mjs CALLS URL...
import { Octokit } from '@octokit/core';

const [calls, ...urls] = process.argv.slice(2);
for (const url of urls) {
  const { origin, pathname } = new URL(url);
  const octokit = new Octokit({ auth: 'a', baseUrl: origin });
  for (let i = 0; i < Number(calls); i++) {
    // Its own default is a media type of GitHub's.
    const headers = { accept: 'application/json' };
    const { status } = await octokit.request(`GET ${pathname}`, { headers });
    process.stdout.write(`${status} ${url}\n`);
  }
}
