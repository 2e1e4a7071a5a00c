// @module-tag needs-chromium
import { createServer } from 'node:http';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startAzion, type Azion } from '../support/azion.ts';
import { launchBrowser } from '../support/browser.ts';
import { ask } from '../support/ask.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';

const TOKEN = 'the-api-token-0123456789';
const ADMIN_TOKEN = 'operators-only-0123456789';

let browser: Browser;
let page: Page;
let api: Azion;
let gateway: TestGateway;
let evilUrl: string;
const closers: (() => unknown)[] = [];

beforeAll(async () => {
  // What an attacker's name server does: a name that he holds, and our address.
  browser = await launchBrowser(['--host-resolver-rules=MAP evil.example.com 127.0.0.1']);
  closers.push(() => browser.close());
  api = await startAzion();
  closers.push(() => api.close());
  gateway = await startGateway({
    upstream: api.url,
    settings: { HEADGATE_TOKEN: TOKEN, HEADGATE_ADMIN_TOKEN: ADMIN_TOKEN },
  });
  closers.push(() => gateway.stop());
  const evil = createServer((_, outgoing) => {
    outgoing.setHeader('content-type', 'text/html');
    outgoing.end('<!doctype html><title>evil</title><body></body>');
  });
  await new Promise<void>((resolve) => {
    evil.listen(0, '127.0.0.1', resolve);
  });
  closers.push(() => {
    evil.closeAllConnections();
    evil.close();
  });
  const address = evil.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  evilUrl = `http://evil.example.com:${address.port}/`;
});

afterEach(async () => {
  await page.close();
});

afterAll(async () => {
  for (const close of closers.toReversed()) await close();
});

/** The codes with which the gateway refused calls so far. */
function refusals(): unknown[] {
  return gateway.log.lines.flatMap(({ code }) => code ?? []);
}

/** What a page can do to another origin without asking, and one thing for which it has to ask. */
function spendFrom(target: string): string {
  return `(async () => {
    const target = ${JSON.stringify(target)};
    const image = new Image();
    await new Promise((resolve) => {
      image.onerror = image.onload = resolve;
      image.src = target + '/domains?image';
    });
    await fetch(target + '/domains?get', { mode: 'no-cors' });
    const body = '{"urls":["www.example.com/"]}';
    await fetch(target + '/purge/url?post', { method: 'POST', mode: 'no-cors', body });
    await fetch(target + '/domains/1?delete', { method: 'DELETE' }).catch(() => undefined);
  })()`;
}

/** What a page needs no leave for either: a form that the browser sends with its credentials. */
function submitTo(action: string): string {
  return `{
    const form = document.createElement('form');
    form.method = 'post';
    form.action = ${JSON.stringify(action)};
    document.body.append(form);
    form.submit();
  }`;
}

describe('a real browser', () => {
  test('that shows another site’s page sends nothing on that page’s behalf to the API', async () => {
    page = await browser.newPage();
    await page.goto(evilUrl);
    const before = refusals().length;
    await page.evaluate(spendFrom(gateway.url));
    expect(refusals().slice(before)).toEqual(Array.from({ length: 4 }, () => 'cross-site'));
    expect(api.seen).toHaveLength(0);
  });

  test('that was lured to us under a name of the attacker’s reads nothing', async () => {
    page = await browser.newPage();
    const rebound = gateway.url.replace('127.0.0.1', 'evil.example.com');
    const response = await page.goto(`${rebound}/domains`);
    expect(response?.status()).toBe(403);
    expect(response?.headers()['headgate-error']).toBe('foreign-host');
    // The page's own origin now, so that the browser itself sees nothing wrong.
    const status = await page.evaluate(async () => (await fetch('/domains')).status);
    expect(status).toBe(403);
    expect(api.seen).toHaveLength(0);
  });

  test('that holds the admin token does not spend it on another site’s page', async () => {
    const adminUrl = gateway.adminUrl ?? '';
    const context = await browser.newContext({
      httpCredentials: { username: 'operator', password: ADMIN_TOKEN },
    });
    closers.push(() => context.close());
    await ask(`${gateway.url}/domains`);
    const authorization = `Bearer ${ADMIN_TOKEN}`;
    const bucketsNow = async (): Promise<{ id: string; paused?: boolean }[]> =>
      JSON.parse((await ask(`${adminUrl}/buckets`, { headers: { authorization } })).text).buckets;
    const [bucket] = await bucketsNow();
    page = await context.newPage();
    expect((await page.goto(`${adminUrl}/buckets`))?.status()).toBe(200);
    await page.goto(evilUrl);
    const answered = page.waitForResponse(`${adminUrl}/**`);
    const id = encodeURIComponent(bucket?.id ?? '');
    await page.evaluate(submitTo(`${adminUrl}/buckets/${id}/pause`));
    expect((await answered).status()).toBe(403);
    expect(await bucketsNow()).toEqual([expect.not.objectContaining({ paused: true })]);
  });
});
