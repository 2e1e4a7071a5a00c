import { describe, expect, test } from 'vitest';
import { hasCredential } from '../../src/http/credential-fields.ts';
import { ask } from '../support/ask.ts';
import { setUp } from '../support/setup.ts';

const TOKEN = 'the-token-of-the-gateway';
const settings = { HEADGATE_TOKEN: TOKEN };

describe('a client with an empty token', () => {
  test.each(['token ', 'Token', 'Bearer  ', ''])(
    'that sends %j gets the configured one',
    async (authorization) => {
      const { azion, gateway } = await setUp({}, { settings });
      const answer = await ask(`${gateway.url}/domains`, { headers: { authorization } });
      expect(answer.status).toBe(200);
      const names = azion.seen[0]?.rawHeaders.filter((name) => /^authorization$/i.test(name));
      expect(names).toHaveLength(1);
      expect(azion.seen[0]?.headers.authorization).toBe(`token ${TOKEN}`);
      expect(await gateway.log.first('call')).toMatchObject({ bucket: 'own:read' });
    },
  );

  test('is one that a page of another origin cannot be', async () => {
    const { azion, gateway } = await setUp({}, { settings });
    const headers = { authorization: 'token ', origin: 'https://evil.example' };
    const answer = await ask(`${gateway.url}/domains`, { headers });
    expect(answer.headers['headgate-error']).toBe('cross-site');
    expect(answer.headers['access-control-allow-origin']).toBeUndefined();
    expect(azion.seen).toEqual([]);
  });

  test('keeps its field where no token is configured', async () => {
    const { azion, gateway } = await setUp();
    await ask(`${gateway.url}/domains`, { headers: { authorization: 'token' } });
    expect(azion.seen[0]?.headers.authorization).toBe('token');
  });
});

test.each(['token x', 'Basic', 'tokens', 'Bearer abc'])('%j is a credential', (field) => {
  expect(hasCredential(field)).toBe(true);
});
