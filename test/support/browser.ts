import { accessSync } from 'node:fs';
import { chromium, type Browser } from 'playwright-core';

const CHROMIUM = process.env['HEADGATE_TEST_CHROMIUM'] ?? '/usr/bin/chromium';

/** Starts Chromium without a window. The error names what to install where there is none. */
export async function launchBrowser(further: readonly string[] = []): Promise<Browser> {
  try {
    accessSync(CHROMIUM);
  } catch {
    throw new Error(
      `no browser at ${CHROMIUM}: apt-get install chromium, or set HEADGATE_TEST_CHROMIUM to one`,
    );
  }
  return chromium.launch({
    executablePath: CHROMIUM,
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
