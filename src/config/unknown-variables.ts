import { nearestWord } from './nearest-word.ts';
import { SETTINGS } from './settings.ts';

const PREFIX = 'HEADGATE_';
/** Variables with our prefix that are no settings: the file's path, and those of the test suite. */
const NOT_SETTINGS = /^HEADGATE_(?:CONFIG|TEST_\w+)$/;

/** One problem for each variable with our prefix that is no setting, with a suggestion. */
export function unknownVariables(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = Object.values(SETTINGS).map(({ variable }): string => variable);
  const suffixes = known.map((variable) => variable.slice(PREFIX.length));
  const isServiceLink = makeIsServiceLink(Object.keys(env));
  const problems: string[] = [];
  for (const name of Object.keys(env)) {
    if (!name.startsWith(PREFIX) || known.includes(name)) continue;
    if (NOT_SETTINGS.test(name) || isServiceLink(name)) continue;
    // The prefix that all have in common would make each of them look near.
    const suffix = nearestWord(name.slice(PREFIX.length), suffixes);
    const suggestion = suffix === undefined ? undefined : PREFIX + suffix;
    const hint =
      suggestion === undefined
        ? 'docs/configuration.md lists the settings'
        : `did you mean ${suggestion}?`;
    problems.push(`${name}: expected a known setting, got an unknown one; ${hint}`);
  }
  return problems;
}

const SERVICE_HOST = /^(HEADGATE(?:_[A-Z0-9]+)*)_SERVICE_HOST$/;
const SERVICE_LINK =
  /^_(?:SERVICE_(?:HOST|PORT)(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PORT|PROTO|ADDR))?)?)$/;

/**
 * Recognises the service links of Kubernetes. It sets them in every pod, for each Service in the
 * namespace: HEADGATE_REDIS_SERVICE_HOST, HEADGATE_REDIS_PORT_6379_TCP and so on for a Service named
 * `headgate-redis`. They are neither settings nor misspelt ones.
 */
function makeIsServiceLink(names: readonly string[]): (name: string) => boolean {
  const services = names.flatMap((name) => SERVICE_HOST.exec(name)?.[1] ?? []);
  return (name) =>
    services.some(
      (service) => name.startsWith(`${service}_`) && SERVICE_LINK.test(name.slice(service.length)),
    );
}
