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
  // As an attacker's name server does, a name of the attacker resolves to this address.
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

/** Requests that a page may send to another origin without a preflight, and one that needs it. */
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

/** Requests with which a page may read the admin listener, or take its places for watchers. */
function readFrom(target: string): string {
  return `(async () => {
    const target = ${JSON.stringify(target)};
    const ended = (element, on) => new Promise((resolve) => {
      for (const name of on) element.addEventListener(name, resolve);
    });
    const image = new Image();
    image.src = target + '/page/icon.svg';
    const source = new EventSource(target + '/events', { withCredentials: true });
    const frame = document.createElement('iframe');
    frame.src = target + '/calls';
    document.body.append(frame);
    await Promise.all([
      ended(image, ['load', 'error']),
      ended(source, ['open', 'error']),
      ended(frame, ['load']),
      fetch(target + '/buckets', { mode: 'no-cors', credentials: 'include' }).catch(() => 0),
    ]);
    source.close();
  })()`;
}

/** A form, which needs no preflight either, and which the browser sends with its credentials. */
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
  test('that shows a page of another site sends nothing to the API for that page', async () => {
    page = await browser.newPage();
    await page.goto(evilUrl);
    const before = refusals().length;
    await page.evaluate(spendFrom(gateway.url));
    expect(refusals().slice(before)).toEqual(Array.from({ length: 4 }, () => 'cross-site'));
    expect(api.seen).toHaveLength(0);
  });

  test('that reaches the gateway under a name of the attacker reads nothing', async () => {
    page = await browser.newPage();
    const rebound = gateway.url.replace('127.0.0.1', 'evil.example.com');
    const response = await page.goto(`${rebound}/domains`);
    expect(response?.status()).toBe(403);
    expect(response?.headers()['headgate-error']).toBe('foreign-host');
    // It is the page's own origin now, so the browser itself allows the request.
    const status = await page.evaluate(async () => (await fetch('/domains')).status);
    expect(status).toBe(403);
    expect(api.seen).toHaveLength(0);
  });

  test('that has the admin token does not use it for a page of another site', async () => {
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

  test('that shows a page of another site opens the live page by a link, and nothing else for it', async () => {
    const adminUrl = gateway.adminUrl ?? '';
    const context = await browser.newContext({
      httpCredentials: { username: 'operator', password: ADMIN_TOKEN },
    });
    closers.push(() => context.close());
    page = await context.newPage();
    // The browser knows the token from now on.
    expect((await page.goto(adminUrl))?.status()).toBe(200);
    await page.goto(evilUrl);
    // The browser does not show these responses to the page, nor to Playwright.
    const devTools = await context.newCDPSession(page);
    await devTools.send('Network.enable');
    // Two processes of the browser report these events, so either may come first.
    const paths = new Map<string, string>();
    const statuses = new Map<string, number>();
    devTools.on('Network.requestWillBeSent', ({ requestId, request }) => {
      paths.set(requestId, new URL(request.url).pathname);
    });
    devTools.on('Network.responseReceivedExtraInfo', ({ requestId, statusCode }) => {
      statuses.set(requestId, statusCode);
    });
    await page.evaluate(readFrom(adminUrl));
    // The browser's own requests, such as for an icon, are not announced.
    const statusByPath = (): Record<string, number> =>
      Object.fromEntries(
        [...paths].flatMap(([id, path]) => {
          const status = statuses.get(id);
          return status === undefined ? [] : [[path, status]];
        }),
      );
    await expect.poll(statusByPath).toEqual({
      '/buckets': 403,
      '/calls': 403,
      '/events': 403,
      '/page/icon.svg': 403,
    });
    const link = `<a href="${adminUrl}/">live page</a>`;
    await page.evaluate(`document.body.innerHTML = ${JSON.stringify(link)}`);
    await page.click('a');
    await page.waitForURL(`${adminUrl}/`);
    await expect.poll(() => page.textContent('#connection')).toBe('Live');
  });
});
