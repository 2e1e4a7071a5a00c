import { nearest } from './nearest-word.ts';
import { makeIsServiceLink } from './service-links.ts';
import { SETTINGS } from './settings.ts';

/** Variables with our prefix that are no settings: the file's own, and those of the test suite. */
const NOT_SETTINGS = /^HEADGATE_(?:CONFIG|TEST_\w+)$/;

/** A problem for each variable with our prefix that is no setting, with what was probably meant. */
export function unknownVariables(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = Object.values(SETTINGS).map(({ variable }): string => variable);
  const isServiceLink = makeIsServiceLink(Object.keys(env));
  const problems: string[] = [];
  for (const name of Object.keys(env)) {
    if (!name.startsWith('HEADGATE_') || known.includes(name)) continue;
    if (NOT_SETTINGS.test(name) || isServiceLink(name)) continue;
    const meant = nearest(name, known);
    const hint =
      meant === undefined ? 'see the table of settings in the README' : `did you mean ${meant}?`;
    problems.push(`${name}: expected a known setting, got an unknown one; ${hint}`);
  }
  return problems;
}
