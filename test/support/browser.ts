import { chromium, type Browser } from 'playwright-core';
import { pathOf } from './tools.ts';

/** How long a test waits for the browser: on a busy machine, Playwright's half a minute is too short. */
const PATIENCE_MS = 240_000;

/** Starts Chromium without a window. */
export async function launchBrowser(further: readonly string[] = []): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: pathOf('chromium'),
    timeout: PATIENCE_MS,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-first-run',
      ...further,
    ],
  });
  const newContext = browser.newContext.bind(browser);
  // Pages without a context of their own get theirs from here, too.
  browser.newContext = async (options) => {
    const context = await newContext(options);
    context.setDefaultTimeout(PATIENCE_MS);
    return context;
  };
  return browser;
}
