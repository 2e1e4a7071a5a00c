import { execFileSync } from 'node:child_process';
import { cpSync, globSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Makes dist/, which runs without TypeScript: the compiled sources, and what they read at run time. */

const root = fileURLToPath(new URL('../', import.meta.url));
/** Files that the sources read beside themselves: Redis scripts and the status page. */
const ASSETS = 'src/**/*.{lua,html,css,js,svg}';

// A file that was renamed must not stay behind and be packed.
rmSync(`${root}dist`, { recursive: true, force: true });
execFileSync(`${root}node_modules/.bin/tsc`, ['-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
});
for (const asset of globSync(ASSETS, { cwd: root })) {
  cpSync(`${root}${asset}`, `${root}${asset.replace(/^src/, 'dist')}`);
}
