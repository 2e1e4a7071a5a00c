import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { z } from 'zod';

const result = z.object({
  violations: z.array(
    z.object({
      id: z.string(),
      impact: z.string(),
      nodes: z.array(z.object({ html: z.string() })),
    }),
  ),
});

/** Accessibility problems that axe rates serious or critical. */
export async function accessibilityProblems(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  // What passes is not described, which takes axe longer than to find out.
  const run = "axe.run(document, { resultTypes: ['violations'] })";
  const { violations } = result.parse(
    await page.evaluate(`${run}.then(({ violations }) => ({ violations }))`),
  );
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}
