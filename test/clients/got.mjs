// Calls each URL CALLS times, one after another: got.mjs CALLS URL...
import got from 'got';

const [calls, ...urls] = process.argv.slice(2);
for (const url of urls) {
  for (let i = 0; i < Number(calls); i++) {
    const { statusCode } = await got(url, { headers: { authorization: 'Token a' } });
    process.stdout.write(`${statusCode} ${url}\n`);
  }
}
