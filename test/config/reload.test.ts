import { describe, expect, test } from 'vitest';
import { loadConfig, type Settings } from '../../src/config/config.ts';
import { planReload } from '../../src/config/reload.ts';

function load(yaml: string): Settings {
  const loaded = loadConfig({ env: {}, configPath: 'FILE', readFile: () => yaml });
  if (loaded.kind === 'bad') throw new Error(loaded.problems.join('\n'));
  return loaded;
}

const ONE = 'https://one.example';
const TWO = 'https://two.example';

test('a reload switches the learning of buckets off', () => {
  const running = load(`preset: none\nupstreamUrl: ${ONE}`);
  const planned = planReload(running, load(`preset: none\nupstreamUrl: ${ONE}\nlearnBuckets: off`));
  if (planned.kind === 'refused') throw new Error(planned.problems.join('\n'));
  expect(planned).toMatchObject({ changed: ['HEADGATE_LEARN_BUCKETS'], needRestart: [] });
  expect(planned.settings.config.learnBuckets).toBe('off');
});

describe('a reload with several APIs', () => {
  test('changes what can change of each, and names it by the API', () => {
    const running = load(
      `apis: {one: {upstreamUrl: "${ONE}", maxWait: 1s, match: {path: /a/**}}, two: {upstreamUrl: "${TWO}"}}`,
    );
    const next = load(
      `apis: {one: {upstreamUrl: "${ONE}", maxWait: 2s, match: {path: /a/**}}, two: {upstreamUrl: "${TWO}", pathMasks: [/x/*]}}`,
    );
    const planned = planReload(running, next);
    if (planned.kind === 'refused') throw new Error(planned.problems.join('\n'));
    expect(planned).toMatchObject({
      changed: ['apis.one.maxWait', 'apis.two.pathMasks'],
      needRestart: [],
    });
    const [one, two] = planned.settings.config.apis;
    expect([one?.maxWaitMs, two?.pathMasks]).toEqual([2000, ['/x/*']]);
    expect(planReload(planned.settings, next)).toMatchObject({ changed: [], needRestart: [] });
  });

  test('names addresses, matches and APIs that need a restart, at each reload, and leaves them', () => {
    const running = load(
      `apis: {one: {upstreamUrl: "${ONE}", token: a}, two: {upstreamUrl: "${TWO}", match: {path: /b/**}}}`,
    );
    const next = load(
      `apis: {one: {upstreamUrl: "${TWO}", token: b}, three: {upstreamUrl: "${TWO}", match: {path: /c/**}}}`,
    );
    const needRestart = ['apis.one.upstreamUrl', 'apis.one.token', 'apis.two', 'apis.three'];
    const planned = planReload(running, next);
    if (planned.kind === 'refused') throw new Error(planned.problems.join('\n'));
    expect(planned).toMatchObject({ changed: [], needRestart });
    expect(planned.settings.config.apis).toEqual(running.config.apis);
    expect(planReload(planned.settings, next)).toMatchObject({ changed: [], needRestart });
    const moved = load(
      `apis: {one: {upstreamUrl: "${ONE}", token: a}, two: {upstreamUrl: "${TWO}", match: {path: /d/**}}}`,
    );
    expect(planReload(running, moved)).toMatchObject({ needRestart: ['apis.two.match'] });
  });

  test('is refused when the lists would belong to other APIs', () => {
    const single = load(`preset: none\nupstreamUrl: ${ONE}`);
    const several = load(`apis: {one: {upstreamUrl: "${ONE}"}}`);
    const other = load(`apis: {one: {upstreamUrl: "${ONE}", preset: azion}}`);
    expect(planReload(single, several)).toMatchObject({
      kind: 'refused',
      problems: [expect.stringContaining('a single API')],
    });
    expect(planReload(several, single)).toMatchObject({
      kind: 'refused',
      problems: [expect.stringContaining('several APIs')],
    });
    expect(planReload(several, other)).toMatchObject({
      kind: 'refused',
      problems: [
        expect.stringContaining('apis.one.preset: expected none until a restart, got azion'),
      ],
    });
  });

  test('is refused when an API would be open to callers without keys', () => {
    const yaml = (keys: string): string =>
      `listen: 0.0.0.0:80\n${keys}apis: {one: {upstreamUrl: "${ONE}", token: a}}`;
    const running = load(yaml('callerKeys: me=0123456789abcdef\n'));
    const next = { ...running, config: { ...running.config, callerKeys: [] } };
    expect(planReload(running, next)).toMatchObject({
      kind: 'refused',
      problems: [expect.stringContaining('apis.one.token: expected HEADGATE_CALLER_KEYS')],
    });
  });
});
