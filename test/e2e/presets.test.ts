import { describe, expect, test } from 'vitest';
import { setUpApi } from '../http/setup.ts';
import { ask } from '../support/ask.ts';

/** What the requests to an API had that its preset determines. */
async function sentWith(
  settings: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<Readonly<Record<string, string | string[] | undefined>>> {
  const { api, gateway } = await setUpApi((_incoming, outgoing) => outgoing.end('{}'), settings);
  expect((await ask(`${gateway.url}/a`, { headers })).status).toBe(200);
  return api.seen[0]?.headers ?? {};
}

describe('the version that a preset adds', () => {
  test.each([
    ['github', 'x-github-api-version', '2022-11-28'],
    ['anthropic', 'anthropic-version', '2023-06-01'],
  ])('for %s is in the header %s', async (preset, header, version) => {
    const settings = { HEADGATE_PRESET: preset };
    const sent = await sentWith(settings, { accept: 'application/json' });
    expect(sent).toMatchObject({ [header]: version, accept: 'application/json' });
    expect(await sentWith(settings, { [header]: 'of-the-caller' })).toMatchObject({
      [header]: 'of-the-caller',
    });
    const other = await sentWith({ ...settings, HEADGATE_API_VERSION: '2024-02-03' });
    expect(other).toMatchObject({ [header]: '2024-02-03' });
    expect(await sentWith({ ...settings, HEADGATE_API_VERSION: 'off' })).not.toHaveProperty(header);
  });

  test('for Azion v4 is none', async () => {
    expect(await sentWith({ HEADGATE_PRESET: 'azion-v4' }, { accept: 'a/b' })).toMatchObject({
      accept: 'a/b',
    });
  });
});

describe('the configured token', () => {
  test.each([
    ['azion', 'authorization', 'token secret'],
    ['azion-v4', 'authorization', 'Token secret'],
    ['github', 'authorization', 'Bearer secret'],
    ['gitlab', 'authorization', 'Bearer secret'],
    ['discord', 'authorization', 'Bot secret'],
    ['cloudflare', 'authorization', 'Bearer secret'],
    ['shopify', 'x-shopify-access-token', 'secret'],
    ['openai', 'authorization', 'Bearer secret'],
    ['anthropic', 'x-api-key', 'secret'],
    ['none', 'authorization', 'token secret'],
  ])('of %s is sent as the API requires it: %s: %s', async (preset, header, value) => {
    const settings = { HEADGATE_PRESET: preset, HEADGATE_TOKEN: 'secret' };
    expect(await sentWith(settings)).toMatchObject({ [header]: value });
  });

  test.each([
    ['gitlab', 'private-token'],
    ['gitlab', 'job-token'],
    ['cloudflare', 'x-auth-key'],
    ['anthropic', 'x-api-key'],
  ])('of %s is not added to a request with %s', async (preset, header) => {
    const settings = { HEADGATE_PRESET: preset, HEADGATE_TOKEN: 'secret' };
    const sent = await sentWith(settings, { [header]: 'of-the-caller' });
    expect(sent).toMatchObject({ [header]: 'of-the-caller' });
    expect(sent).not.toHaveProperty('authorization');
  });
});

test('the results of an Anthropic batch are linked through the gateway', async () => {
  let url = '';
  const { api, gateway } = await setUpApi(
    (_incoming, outgoing) => {
      outgoing.setHeader('Content-Type', 'application/json');
      outgoing.end(
        JSON.stringify({ id: 'b1', results_url: `${url}/v1/messages/batches/b1/results` }),
      );
    },
    { HEADGATE_PRESET: 'anthropic' },
  );
  ({ url } = api);
  const answer = await ask(`${gateway.url}/v1/messages/batches/b1`);
  expect(JSON.parse(answer.text)).toEqual({
    id: 'b1',
    results_url: `${gateway.url}/v1/messages/batches/b1/results`,
  });
});
