// Calls each URL CALLS times, one after another: ky.mjs CALLS URL...
import ky from 'ky';

const [calls, ...urls] = process.argv.slice(2);
for (const url of urls) {
  for (let i = 0; i < Number(calls); i++) {
    // Its own timeout is ten seconds, which a busy machine may exceed.
    const response = await ky(url, { headers: { authorization: 'Token a' }, timeout: 120_000 });
    await response.text();
    process.stdout.write(`${response.status} ${url}\n`);
  }
}
