import { installMissingTools } from '../../scripts/test-tools.ts';

/** Runs once before the tests, and installs the tools that they need where it can. */
export default function setup(): void {
  installMissingTools((line) => process.stdout.write(`${line}\n`));
}
