// Calls each URL CALLS times, one after another: fetch.mjs CALLS URL...
const [calls, ...urls] = process.argv.slice(2);
for (const url of urls) {
  for (let i = 0; i < Number(calls); i++) {
    const response = await fetch(url, { headers: { authorization: 'Token a' } });
    await response.text();
    process.stdout.write(`${response.status} ${url}\n`);
  }
}
