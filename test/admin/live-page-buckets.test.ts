// @module-tag needs-chromium
import { type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { accessibilityProblems } from '../support/accessibility.ts';
import { launchBrowser } from '../support/browser.ts';
import { OPERATOR, startSeveralBuckets, type SeveralBuckets } from '../support/several-buckets.ts';

let browser: Browser;
/** For all tests, because a new one takes a browser longer than most tests. */
let page: Page;
let several: SeveralBuckets;
beforeAll(async () => {
  browser = await launchBrowser();
  page = await browser.newPage({ httpCredentials: { username: 'me', password: OPERATOR } });
  several = await startSeveralBuckets();
  await several.send('/repos/a/b');
  for (let i = 0; i < 3; i++) await several.send('/search/issues');
  await several.send('/gists/1');
  await several.send('/repos/a/b', 'b');
});
afterAll(async () => {
  await several.close();
  await browser.close();
});

async function openPage(
  colorScheme: 'light' | 'dark' = 'light',
  viewport = { width: 1440, height: 900 },
): Promise<void> {
  await page.emulateMedia({ colorScheme });
  await page.setViewportSize(viewport);
  await page.mouse.move(0, 0);
  await page.goto(several.gateway.adminUrl);
  await page.locator('[data-connection="live"]').waitFor();
}

/** The headings of each owner's buckets, in their order. */
async function groups(): Promise<string[][]> {
  const owners = await page.locator('.owner').all();
  return Promise.all(owners.map((owner) => owner.locator('h3, h4').allTextContents()));
}

test('buckets are grouped by credential and class, those with least left first', async () => {
  await openPage();
  const hash = expect.stringMatching(/^[0-9a-f]{16}$/);
  // The search has nothing left, and the others almost all.
  expect(await groups()).toEqual([
    [hash, 'all', 'all / search', 'gists', 'gists / day'],
    [hash, 'all'],
    ['all credentials', 'global'],
  ]);
});

test('the credential whose requests wait is first, and stays while the pointer is there', async () => {
  await openPage();
  const first = page.locator('.owner').first().locator('h3');
  const searching = await first.textContent();
  await several.send('/search/issues', 'b');
  await several.send('/search/issues', 'b');
  await several.send('/search/issues', 'b');
  await page.locator('#buckets').hover();
  const controller = new AbortController();
  const waiting = several.send('/search/issues', 'b', controller.signal).catch(() => 'left');
  await page.getByText(/^1 waiting, the first one for/).waitFor();
  expect(await first.textContent()).toBe(searching);
  await page.mouse.move(1400, 5);
  await expect.poll(() => first.textContent()).not.toBe(searching);
  controller.abort();
  expect(await waiting).toBe('left');
  await expect.poll(() => page.getByText(/^1 waiting/).count()).toBe(0);
});

test('a bucket shows which routes spend from it, and why', async () => {
  await openPage();
  const cards = page.locator('.owner', { hasText: 'gists / day' }).locator('.bucket');
  const origin = cards.nth(1).locator('.origin');
  await origin.locator('summary', { hasText: 'learned, 1 route' }).click();
  await origin.getByText('the API names this bucket in its answers').waitFor();
  await origin.getByText('GET /search/issues').waitFor();

  const own = cards.first().locator('.origin');
  await own.locator('summary', { hasText: 'own bucket of the class' }).click();
  await own.getByText('routes that are not known to spend from another one').waitFor();

  // A stated limit takes no routes from the class's own bucket.
  const gists = cards.nth(2);
  expect(await gists.locator('h4').textContent()).toBe('gists');
  expect(await gists.locator('.origin').isHidden()).toBe(true);

  const stated = cards.nth(3).locator('.origin');
  await stated.locator('summary', { hasText: 'stated' }).click();
  await stated.getByText('every request of the class spends from it').waitFor();
  const wide = page.locator('.bucket', { hasText: 'global' }).locator('.origin');
  await wide.locator('summary').click();
  await wide.getByText('a limit over the classes').waitFor();
  // It stays open while the numbers change.
  await several.send('/repos/a/b');
  await cards.first().locator('.remaining', { hasText: '997 of 1,000 left' }).waitFor();
  expect(await origin.getByText('GET /search/issues').isVisible()).toBe(true);
});

test('a bucket whose id has a slash is paused and resumed by its button', async () => {
  await openPage();
  page.once('dialog', (dialog) => void dialog.accept());
  const bucket = page.locator('.bucket', { hasText: 'gists / day' });
  await bucket.getByRole('button', { name: /^Pause bucket \w+:gists\/day$/ }).click();
  await bucket.locator('.badge', { hasText: 'paused' }).waitFor();
  await bucket.getByRole('button', { name: /^Resume bucket/ }).click();
  await bucket.getByRole('button', { name: /^Pause bucket/ }).waitFor();
  expect(await page.locator('#buckets-problem').isHidden()).toBe(true);
});

test.for([
  ['light', 1440],
  ['dark', 1440],
  ['light', 390],
  ['dark', 390],
] as const)('groups are accessible in the %s theme, %i px wide', async ([theme, width]) => {
  await openPage(theme, { width, height: 900 });
  for (const summary of await page.locator('.origin summary:visible').all()) await summary.click();
  expect(await accessibilityProblems(page)).toEqual([]);
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
});
