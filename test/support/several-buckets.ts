import { ask } from './ask.ts';
import { startGateway, type TestGateway } from './gateway.ts';
import { startLimitedApi } from './limited-api.ts';
import { githubWorld } from './limit-worlds.ts';

export const OPERATOR = 'an-operator-s-token';

/** A gateway that has buckets of every kind: of a class, stated with a name, learned, of an account. */
export interface SeveralBuckets {
  readonly gateway: TestGateway;
  /** Sends a request, and returns the status of its answer. */
  send(path: string, credential?: string, signal?: AbortSignal): Promise<number>;
  close(): Promise<void>;
}

const FILE = `
classes:
  - name: gists
    path: /gists/**
    limits: [800/1h, { name: day, limit: 500/1d }]
limits:
  - { name: global, limit: 900/1m, scope: api }
`;

/** Starts a GitHub with a core and a search bucket, and a gateway that learns them. */
export async function startSeveralBuckets(): Promise<SeveralBuckets> {
  const core = { limit: 1000, periodMs: 3_600_000 };
  const search = { limit: 3, periodMs: 3_600_000 };
  const api = await startLimitedApi(githubWorld({ core, search }));
  const gateway = await startGateway({
    upstream: api.url,
    settings: {
      HEADGATE_PRESET: 'none',
      HEADGATE_ADMIN_TOKEN: OPERATOR,
      HEADGATE_MAX_WAIT: '2h',
    },
    files: { 'headgate.yaml': FILE },
  });
  return {
    gateway,
    async send(path, credential = 'a', signal) {
      const headers = { Authorization: `token ${credential}`, 'Headgate-Caller': 'reports' };
      const answer = await ask(gateway.url + path, {
        headers,
        ...(signal === undefined ? {} : { signal }),
      });
      return answer.status;
    },
    async close() {
      await gateway.stop();
      await api.close();
    },
  };
}
