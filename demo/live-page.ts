import { writeFileSync } from 'node:fs';
import { launchBrowser } from '../test/support/browser.ts';
import { playScene } from './scene.ts';

/**
 * Takes the screenshots of the live page: docs/live-page.png in light colours, and
 * docs/live-page-dark.png in dark colours.
 *
 *     node demo/live-page.ts [DIRECTORY]
 */

const directory = process.argv[2] ?? 'docs';
const SIZE = { width: 1440, height: 900 };
/** How many ticks the page receives before the screenshot. */
const TICKS = 3;

const { admin, play } = await playScene(Date.now());
await new Promise<void>((resolve) => admin.server.listen(0, '127.0.0.1', resolve));
const address = admin.server.address();
const port = typeof address === 'object' ? address?.port : undefined;
const browser = await launchBrowser();
try {
  for (const colorScheme of ['light', 'dark'] as const) {
    const page = await browser.newPage({ viewport: SIZE, colorScheme, deviceScaleFactor: 1.5 });
    await page.goto(`http://127.0.0.1:${port}/`);
    for (let tick = 0; tick < TICKS; tick++) {
      await play(1000);
      await page.waitForTimeout(700);
    }
    await page.locator('[data-connection="live"]').waitFor();
    const name = colorScheme === 'light' ? 'live-page.png' : 'live-page-dark.png';
    writeFileSync(`${directory}/${name}`, await page.screenshot());
    await page.close();
  }
} finally {
  await browser.close();
  await admin.close();
}
