import { chromium, type Browser } from 'playwright-core';
import { pathOf } from './tools.ts';

/** Starts Chromium without a window. */
export async function launchBrowser(further: readonly string[] = []): Promise<Browser> {
  return chromium.launch({
    executablePath: pathOf('chromium'),
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
}
