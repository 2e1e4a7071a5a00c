// Reads the domains (API v3) and purges a URL (API v4) CALLS times, by turns: azion.cjs CALLS
const domains = require('azion/domains').createClient({ token: 'a' });
const purge = require('azion/purge').createClient({ token: 'a' });

async function main(calls) {
  for (let i = 0; i < calls; i++) {
    const read = await domains.getDomains();
    const purged = await purge.purgeURL([`www.example.com/${i}`]);
    const text = read.error ?? purged.error ?? `${read.data.results.length} ${purged.data.state}`;
    process.stdout.write(`${JSON.stringify(text)}\n`);
  }
}

void main(Number(process.argv[2]));
