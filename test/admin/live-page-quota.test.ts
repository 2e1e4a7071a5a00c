// @module-tag needs-chromium
import { expect, onTestFinished, test } from 'vitest';
import { startApi } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { launchBrowser } from '../support/browser.ts';
import { startGateway } from '../support/gateway.ts';

const KEY = 'key-of-the-nightly-job';

test('the live page shows the quota of a caller as no credential, with what is left of it', async () => {
  const api = await startApi((_incoming, outgoing) => void outgoing.end('{}'));
  onTestFinished(() => api.close());
  const gateway = await startGateway({
    upstream: api.url,
    settings: { HEADGATE_PRESET: 'none', HEADGATE_CALLER_KEYS: `job=${KEY}` },
    files: { 'headgate.yaml': 'callers: [{ name: job, quota: 5/1h }]' },
  });
  onTestFinished(() => gateway.stop());
  const answer = await ask(`${gateway.url}/`, { headers: { 'Headgate-Key': KEY } });
  expect(answer.status).toBe(200);

  const browser = await launchBrowser();
  onTestFinished(() => browser.close());
  const page = await browser.newPage();
  await page.goto(gateway.adminUrl);
  const owner = page.locator('.owner', { hasText: 'quotas of callers' });
  await owner.locator('h4', { hasText: /^job$/ }).waitFor();
  await owner.locator('.remaining', { hasText: '4 of 5 left' }).waitFor();
  await owner.locator('summary', { hasText: 'quota' }).click();
  await owner.getByText('every request of this caller spends from it').waitFor();
});
