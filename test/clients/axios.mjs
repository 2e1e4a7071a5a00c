// Calls each URL CALLS times, one after another: axios.mjs CALLS URL...
import axios from 'axios';

const [calls, ...urls] = process.argv.slice(2);
for (const url of urls) {
  for (let i = 0; i < Number(calls); i++) {
    const { status } = await axios.get(url, { headers: { authorization: 'Token a' } });
    process.stdout.write(`${status} ${url}\n`);
  }
}
