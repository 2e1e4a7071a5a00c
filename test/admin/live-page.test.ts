// @module-tag needs-chromium
import { type Browser, type Page } from 'playwright-core';
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
} from 'vitest';
import { makeAdmin } from '../../src/app/admin.ts';
import { AuthThrottle } from '../../src/http/auth-throttle.ts';
import { systemClock } from '../../src/util/system-clock.ts';
import { RecentActivity } from '../../src/telemetry/recent-activity.ts';
import { RequestMemory } from '../../src/upstream/request-memory.ts';
import { LedgerMonitor } from '../../src/telemetry/ledger-monitor.ts';
import { accessibilityProblems } from '../support/accessibility.ts';
import { ask } from '../support/ask.ts';
import { launchBrowser } from '../support/browser.ts';
import { keptPort } from '../support/kept-port.ts';
import { callLine } from '../support/log-fixtures.ts';
import { startGateway } from '../support/gateway.ts';
import { startAdminSetup, type AdminSetup } from '../support/admin-setup.ts';

let browser: Browser;
let watched: AdminSetup;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());
beforeEach(async () => {
  // So long that no budget is refilled during a test, however slow the browser is.
  const limits = { read: { limit: 4, periodMs: 1_800_000 } };
  watched = await startAdminSetup({ HEADGATE_MAX_WAIT: '2h' }, { limits });
});
afterEach(() => watched.close());

/** A page, its errors and warnings, and the URLs that it requested. */
async function openPage(
  url: string,
  colorScheme: 'light' | 'dark' = 'light',
): Promise<{ page: Page; problems: string[]; requested: string[] }> {
  const page = await browser.newPage({ colorScheme, viewport: { width: 1280, height: 800 } });
  const problems: string[] = [];
  const requested: string[] = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('request', (request) => requested.push(request.url()));
  await page.goto(url);
  await page.locator('[data-connection="live"]').waitFor();
  return { page, problems, requested };
}

describe('the live page', () => {
  test('shows the replica, the ledger, the buckets and the last calls, without an error', async () => {
    await watched.call('/domains', 'reports');
    const { adminUrl } = watched.gateway;
    const { page, problems, requested } = await openPage(adminUrl);
    expect(await page.locator('#replica').textContent()).toBe('test');
    expect(await page.locator('#ledger').textContent()).toBe('in this process');
    const bucket = page.locator('.bucket');
    expect(await bucket.count()).toBe(1);
    expect(await bucket.locator('h4').textContent()).toBe('read');
    expect(await bucket.locator('.remaining').textContent()).toBe('3 of 4 left');
    expect(await bucket.locator('.reset').textContent()).toMatch(/^resets in /);
    expect(await bucket.getByRole('meter').getAttribute('aria-valuetext')).toBe('3 of 4');
    const row = page.locator('#rows tr').first();
    expect(await row.locator('.caller').textContent()).toBe('reports');
    expect(await row.locator('.request').textContent()).toBe('GET /domains');
    expect(await row.locator('.status').textContent()).toBe('200');
    const charts = page.getByRole('img', { name: /in the last 15 minutes/ });
    expect(await charts.count()).toBe(3);
    expect(problems).toEqual([]);
    expect(requested.every((url) => url.startsWith(`${adminUrl}/`))).toBe(true);
    await page.close();
  });

  test('shows a call when it happens, and which callers wait for how long', async () => {
    const { page, problems } = await openPage(watched.gateway.adminUrl);
    await watched.call('/edge_applications', 'cron');
    await page.locator('#rows .request', { hasText: '/edge_applications' }).waitFor();

    // The budget of 4 is spent, so further calls wait for most of half an hour.
    for (let i = 0; i < 3; i++) await watched.call('/domains', 'cron');
    const signal = new AbortController();
    const held = ['billing', 'billing', 'reports'].map((caller) =>
      ask(`${watched.gateway.url}/domains`, {
        headers: { Authorization: 'token abc', 'Headgate-Caller': caller },
        signal: signal.signal,
      }).catch(() => 'aborted'),
    );
    const bucket = page.locator('.bucket');
    await bucket
      .getByText(/^3 waiting, the first one for .*\d+ s, the last one is sent in .*\d+ s/)
      .waitFor();
    await bucket.locator('.legend', { hasText: 'billing 2' }).waitFor();
    await bucket.locator('.legend', { hasText: 'reports 1' }).waitFor();
    expect(await bucket.getAttribute('data-state')).toBe('empty');
    signal.abort();
    expect(await Promise.all(held)).toEqual(['aborted', 'aborted', 'aborted']);
    await bucket.getByText('no calls waiting').waitFor();
    await page.locator('#rows tr[data-outcome="aborted"]').first().waitFor();
    expect(problems).toEqual([]);
    await page.close();
  });

  test('shows only calls that match the filter, and keeps the filter in its address', async () => {
    const { adminUrl } = watched.gateway;
    for (const caller of ['cron', 'reports', 'cron']) await watched.call('/domains', caller);
    const { page } = await openPage(`${adminUrl}/?caller=cron`);
    expect(await page.getByLabel('Caller', { exact: true }).inputValue()).toBe('cron');
    expect(await page.locator('#rows .caller').allTextContents()).toEqual(['cron', 'cron']);
    await page.keyboard.press('/');
    await page.keyboard.press('Control+a');
    await page.keyboard.type('reports');
    await page.getByLabel('Outcome').selectOption('answered');
    await expect.poll(() => page.locator('#rows .caller').allTextContents()).toEqual(['reports']);
    await expect.poll(() => page.url()).toBe(`${adminUrl}/?caller=reports&outcome=answered`);
    await page.getByRole('button', { name: 'Clear' }).click();
    await expect.poll(() => page.locator('#rows tr').count()).toBe(3);
    expect(page.url()).toBe(`${adminUrl}/`);
    await page.close();
  });

  test('shows the fullest queue first, and how long its oldest call has waited', async () => {
    for (const token of ['1', '2', '3']) {
      await ask(`${watched.gateway.url}/domains`, { headers: { Authorization: `token ${token}` } });
    }
    for (let i = 0; i < 4; i++) await watched.call('/domains');
    const { page } = await openPage(watched.gateway.adminUrl);
    const signal = new AbortController();
    const held = Array.from({ length: 8 }, () =>
      ask(`${watched.gateway.url}/domains`, {
        headers: { Authorization: 'token abc' },
        signal: signal.signal,
      }).catch(() => 'aborted'),
    );
    const first = page.locator('.bucket').first();
    await first.getByText(/^\d waiting, the first one for .*\d+ s/).waitFor();
    await page.locator('#chart-wait .when', { hasText: 'oldest waiting now' }).waitFor();
    expect(await page.locator('#chart-wait .headline').textContent()).toMatch(/^[1-9]/);
    signal.abort();
    await Promise.all(held);
    await page.locator('#chart-wait .when', { hasText: 'last' }).waitFor();
    await page.close();
  });

  test('pauses a bucket and resumes it, after a question', async () => {
    const settings = { HEADGATE_ADMIN_TOKEN: 'an-operator-s-token' };
    const guarded = await startGateway({ upstream: watched.api.url, settings });
    await ask(`${guarded.url}/domains`, { headers: { Authorization: 'token abc' } });
    const httpCredentials = { username: 'me', password: settings.HEADGATE_ADMIN_TOKEN };
    const context = await browser.newContext({ httpCredentials });
    const page = await context.newPage();
    await page.goto(guarded.adminUrl);
    const questions: string[] = [];
    page.on('dialog', (dialog) => {
      questions.push(dialog.message());
      void dialog.accept();
    });
    await page.getByRole('button', { name: /^Pause bucket/ }).click();
    await page.locator('.badge', { hasText: 'paused' }).waitFor();
    expect(questions).toEqual([expect.stringMatching(/^Pause bucket \w+:read at this replica\?/)]);
    await page.getByRole('button', { name: /^Resume bucket/ }).click();
    await page.getByRole('button', { name: /^Pause bucket/ }).waitFor();
    expect(questions).toHaveLength(1);
    await context.close();
    await guarded.stop();
  });

  test('has no button to pause a bucket where no token allows it', async () => {
    await watched.call('/domains');
    const { page } = await openPage(watched.gateway.adminUrl);
    await page.locator('.bucket').waitFor();
    expect(await page.getByRole('button', { name: /bucket/ }).count()).toBe(0);
    await page.close();
  });

  test('says why a bucket cannot be paused', async () => {
    const settings = { HEADGATE_ADMIN_TOKEN: 'an-operator-s-token' };
    const guarded = await startGateway({ upstream: watched.api.url, settings });
    await ask(`${guarded.url}/domains`, { headers: { Authorization: 'token abc' } });
    const httpCredentials = { username: 'me', password: settings.HEADGATE_ADMIN_TOKEN };
    const context = await browser.newContext({ httpCredentials });
    const page = await context.newPage();
    await page.route('**/pause', (route) =>
      route.fulfill({ status: 404, json: { error: 'no bucket "x"' } }),
    );
    await page.goto(guarded.adminUrl);
    page.on('dialog', (dialog) => void dialog.accept());
    await page.getByRole('button', { name: /^Pause bucket/ }).click();
    const problem = page.getByRole('alert').getByText('no bucket "x"');
    await expect.poll(() => problem.count()).toBe(1);
    await context.close();
    await guarded.stop();
  });

  test('says what observe mode means, and counts what would have been', async () => {
    const settings = { HEADGATE_MODE: 'observe', HEADGATE_MAX_WAIT: '2h' };
    const observing = await startGateway({ upstream: watched.api.url, settings });
    for (const wait of ['2h', '2h', '2h', '2h', '2h', '1s']) {
      const headers = { Authorization: 'token abc', 'Headgate-Max-Wait': wait };
      await ask(`${observing.url}/domains`, { headers });
    }
    const { page } = await openPage(observing.adminUrl);
    const notice = page.locator('#observe');
    await notice.getByText('no call waits for its budget').waitFor();
    await notice
      .getByText('Of 6 calls so far, 1 would have waited and 1 would have been shed')
      .waitFor();
    expect(await page.locator('#chart-throttled .unit').textContent()).toBe('passed on to callers');
    expect(await accessibilityProblems(page)).toEqual([]);
    await page.close();
    await observing.stop();
    const { page: enforcing } = await openPage(watched.gateway.adminUrl);
    expect(await enforcing.locator('#observe').isHidden()).toBe(true);
    expect(await enforcing.locator('#chart-throttled .unit').textContent()).toBe(
      'kept from callers',
    );
    await enforcing.close();
  });

  test('rounds no time to nothing, and none to more seconds than a minute has', async () => {
    const { page } = await openPage(watched.gateway.adminUrl);
    const shown = await page.evaluate(`import('/page/format.js').then((format) => ({
      left: [0, 400, 59_001, 59_999].map(format.formatSpan),
      elapsed: [0, 400, 1999, 59_999, 60_000].map(format.formatElapsed),
      measured: [0.4, 400, 999.7, 9960, 59_400, 59_999, 3_599_700].map(format.formatTime),
    }))`);
    expect(shown).toEqual({
      left: ['1 s', '1 s', '1 min 00 s', '1 min 00 s'],
      elapsed: ['under 1 s', 'under 1 s', '1 s', '59 s', '1 min 00 s'],
      measured: ['0', '400 ms', '1.0 s', '10 s', '59 s', '1 min 00 s', '1 h 00 min'],
    });
    await page.close();
  });

  test('finds a call by its request id', async () => {
    await watched.call('/domains');
    const { headers } = await watched.call('/variables');
    const id = String(headers['headgate-request-id']);
    const { page } = await openPage(`${watched.gateway.adminUrl}/?id=${id}`);
    expect(await page.locator('#rows .id').allTextContents()).toEqual([id]);
    expect(await page.locator('#rows .request').textContent()).toBe('GET /variables');
    await page.close();
  });

  test('shows that the API gives no answer, since when, and when it answers again', async () => {
    const { page } = await openPage(watched.gateway.adminUrl);
    const api = page.locator('#api');
    expect(await api.textContent()).toBe('not called yet');
    watched.api.failNext('reset-before-read', 3);
    await watched.call('/domains');
    await api
      .getByText(/^no answer to the last call, for \d+ s \(upstream-unreachable\)$/)
      .waitFor();
    await watched.call('/domains');
    await api.getByText('answers').waitFor();
    await page.close();
  });

  test('shows on a phone how each call ended, without scrolling sideways', async () => {
    await watched.call('/domains', 'a-caller-with-a-very-long-name/and.another.part-of-it');
    const { page } = await openPage(watched.gateway.adminUrl);
    await page.setViewportSize({ width: 390, height: 844 });
    const width: unknown = await page.evaluate('document.documentElement.scrollWidth');
    expect(width).toBe(390);
    for (const cell of ['.status', '.outcome', '.request', '.id']) {
      const box = await page.locator(`#rows ${cell}`).boundingBox();
      expect([cell, (box?.x ?? -1) >= 0, (box?.x ?? 0) + (box?.width ?? 0) <= 390]).toEqual([
        cell,
        true,
        true,
      ]);
    }
    expect(await accessibilityProblems(page)).toEqual([]);
    await page.close();
  });

  test.for(['light', 'dark'] as const)('is accessible in the %s theme', async (colorScheme) => {
    await watched.call('/domains');
    await watched.call('/nothing', 'cron', 'POST');
    const { page } = await openPage(watched.gateway.adminUrl, colorScheme);
    await page.getByRole('button', { name: 'Pause the list' }).click();
    expect(await accessibilityProblems(page)).toEqual([]);
    await page.close();
  });

  test('works with a token, which the browser asks for', async () => {
    const settings = { HEADGATE_ADMIN_TOKEN: 'an-operator-s-token' };
    const guarded = await startGateway({ upstream: watched.api.url, settings });
    const httpCredentials = { username: 'me', password: settings.HEADGATE_ADMIN_TOKEN };
    const context = await browser.newContext({ httpCredentials });
    const page = await context.newPage();
    await page.goto(guarded.adminUrl);
    await page.locator('[data-connection="live"]').waitFor();
    expect(await page.locator('#replica').textContent()).toBe('test');
    await context.close();
    await guarded.stop();
  });

  test('shows that the connection is lost, and continues when the replica is back', async () => {
    const settings = { HEADGATE_ADMIN_LISTEN: `127.0.0.1:${await keptPort()}` };
    const before = await startGateway({ upstream: watched.api.url, settings });
    const { page } = await openPage(before.adminUrl);
    await before.stop();
    await page.locator('[data-connection="lost"]').waitFor();

    const after = await startGateway({ upstream: watched.api.url, settings });
    await page.locator('[data-connection="live"]').waitFor();
    await ask(`${after.url}/variables`, { headers: { Authorization: 'token other' } });
    await page.locator('#rows .request', { hasText: '/variables' }).waitFor();
    expect(await page.locator('#total').textContent()).toBe('1');
    await page.close();
    await after.stop();
  });
});

test('a thousand calls per second are sampled, and the page shows that and stays small', async () => {
  const activity = new RecentActivity(systemClock);
  const ledger = { snapshot: () => [], pause: () => false, resume: () => false };
  const admin = makeAdmin({
    tls: undefined,
    auth: {
      token: () => undefined,
      throttle: new AuthThrottle({ clock: systemClock, report: () => undefined }),
      beyondLoopback: false,
      isOurHost: () => true,
      isTrustedProxy: () => false,
    },
    clock: systemClock,
    memory: new RequestMemory(0),
    ledger,
    ledgerMonitor: new LedgerMonitor(),
    metrics: { expose: () => Promise.reject(new Error('not used')) },
    activity,
    settings: () => [],
    log: { info: () => undefined, error: () => undefined },
    credentialName: () => undefined,
    isDraining: () => false,
    isMisconfigured: () => false,
    isObserving: () => false,
    replica: 'busy',
    version: '1',
  });
  await new Promise<void>((resolve) => admin.server.listen(0, '127.0.0.1', resolve));
  const address = admin.server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  let calls = 0;
  const load = setInterval(() => {
    for (let i = 0; i < 100; i++) {
      activity.record(callLine({ id: `c${++calls}`, path: `/${calls}` }));
    }
  }, 100);
  onTestFinished(async () => {
    clearInterval(load);
    await admin.close();
  });
  const { page, problems } = await openPage(`http://127.0.0.1:${port}`);
  await page.getByText(/a sample: 50 of [\d,]+ this second/).waitFor();
  const seen = await page.locator('#rows .request').first().textContent();
  await page
    .locator('#rows')
    .filter({ hasNotText: seen ?? '' })
    .waitFor();
  await expect.poll(() => page.locator('#rows tr').count()).toBe(200);

  // A paused list stays as it is while calls continue.
  await page.getByRole('button', { name: 'Pause the list' }).click();
  await page.getByText(/paused, [\d,]+ new/).waitFor();
  expect(problems).toEqual([]);
  await page.close();
});
