import { expect, onTestFinished, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { startAzion } from '../support/azion.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { bucketsOf } from '../support/setup.ts';

const TOKEN = 'token of-production';
const settings = { HEADGATE_SECRET: 'a-secret-of-the-test' };

async function start(url: string, file?: string): Promise<TestGateway> {
  const files = file === undefined ? {} : { 'headgate.yaml': file };
  const gateway = await startGateway({ upstream: url, settings, files });
  onTestFinished(() => gateway.stop());
  return gateway;
}

test('a named credential has its name in the log and in /buckets, and its token in neither', async () => {
  const api = await startAzion();
  onTestFinished(() => api.close());
  const headers = { authorization: TOKEN };
  const unnamed = await start(api.url);
  await ask(`${unnamed.url}/domains`, { headers });
  const [before = {}] = await unnamed.log.wait('call', 1);
  expect(before).not.toHaveProperty('credential');
  const [hash = ''] = String(before['bucket']).split(':');

  const named = await start(api.url, `credentials:\n  - { hash: '${hash}', name: production }\n`);
  await ask(`${named.url}/domains`, { headers });
  await ask(`${named.url}/domains`, { headers: { authorization: 'token another' } });
  const lines = await named.log.wait('call', 2);
  expect(lines.map((line) => line['credential'])).toEqual(['production', undefined]);
  expect(await bucketsOf(named)).toContainEqual(
    expect.objectContaining({ id: `${hash}:read`, credential: 'production' }),
  );
  expect(named.log.text).not.toContain('of-production');
});
