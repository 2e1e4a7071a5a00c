import { expect, test } from 'vitest';
import { loadConfig } from '../../src/config/config.ts';

function problemsOf(env: Readonly<Record<string, string>>): readonly string[] {
  const loaded = loadConfig({ env, readFile: () => '' });
  return loaded.kind === 'bad' ? loaded.problems : [];
}

/** The variables that Kubernetes sets in a pod for a Service. */
function links(service: string, port: number): Record<string, string> {
  const prefix = service.toUpperCase().replaceAll('-', '_');
  return {
    [`${prefix}_SERVICE_HOST`]: '10.0.0.1',
    [`${prefix}_SERVICE_PORT`]: String(port),
    [`${prefix}_SERVICE_PORT_HTTP`]: String(port),
    [`${prefix}_PORT`]: `tcp://10.0.0.1:${port}`,
    [`${prefix}_PORT_${port}_TCP`]: `tcp://10.0.0.1:${port}`,
    [`${prefix}_PORT_${port}_TCP_PROTO`]: 'tcp',
    [`${prefix}_PORT_${port}_TCP_PORT`]: String(port),
    [`${prefix}_PORT_${port}_TCP_ADDR`]: '10.0.0.1',
  };
}

test('variables that Kubernetes sets for Services are no settings, whatever the Services are named', () => {
  const env = {
    ...links('headgate', 80),
    ...links('headgate-redis', 6379),
    ...links('headgate-2-a', 1),
  };
  expect(problemsOf(env)).toEqual([]);
});

test('a variable that only resembles one of a Service is reported', () => {
  expect(problemsOf({ ...links('headgate', 80), HEADGATE_REDIS_PORT: '6379' })).toEqual([
    expect.stringContaining('HEADGATE_REDIS_PORT: expected a known setting'),
  ]);
  expect(problemsOf({ HEADGATE_PORT: '8080' })).toEqual([
    expect.stringContaining('HEADGATE_PORT: expected a known setting'),
  ]);
});

test.each([
  ['HEADGATE_FOO', 'docs/configuration.md lists the settings'],
  ['HEADGATE_BUDGET', 'did you mean HEADGATE_BUDGET_PER?'],
  ['HEADGATE_MAX_WIAT', 'did you mean HEADGATE_MAX_WAIT?'],
  ['HEADGATE_TOKN', 'did you mean HEADGATE_TOKEN?'],
])('%s: %s', (variable, hint) => {
  expect(problemsOf({ [variable]: '1' })).toEqual([
    `${variable}: expected a known setting, got an unknown one; ${hint}`,
  ]);
});
